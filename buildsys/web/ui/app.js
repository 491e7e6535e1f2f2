// The page: sign in, the builds, one build with its live log. Everything it knows comes from the public API.

import { ApiError, call } from "/ui/api.js";
import { showBuild } from "/ui/build.js";
import { showBuilds } from "/ui/builds.js";
import { element } from "/ui/dom.js";

const AGAIN = 3000; // milliseconds before a page is asked for again that could not be had

const main = document.getElementById("main");
const logout = document.getElementById("logout");
let leave = () => {}; // stops what the shown page keeps going
let visit = 0;
let shown = null; // the page's address, without the line that it shows

// A page gets `show` and `failed`, which mean nothing any more once another one is visited; it returns how to leave it.
async function route() {
  const address = location.hash.replace(/#L[\d-L]*$/, "");
  if (address === shown) return; // a page finds its lines itself
  leavePage();
  shown = address;
  const mine = visit;
  const show = (...nodes) => { if (mine === visit) main.replaceChildren(...nodes); };
  const failed = (error) => { if (mine === visit) showFailure(error); };
  const build = address.match(/^#\/builds\/([0-9a-f-]{36})$/)?.[1];
  const project = address.match(/^#\/projects\/([a-z0-9_.-]+)$/)?.[1] ?? null;
  try {
    const leaveIt = await (build ? showBuild(build, { show, failed }) : showBuilds(project, { show, failed }));
    if (mine !== visit) { leaveIt(); return; }
    leave = leaveIt;
    logout.hidden = false;
  } catch (error) {
    failed(error);
  }
}

function leavePage() {
  visit += 1;
  shown = null;
  leave();
  leave = () => {};
}

function showFailure(error) {
  leavePage();
  if (error instanceof ApiError && error.status === 401) { showLogin(); return; }
  main.replaceChildren(element("div", { class: "notice error" }, error.message));
  if (error.passes) {
    const timer = setTimeout(route, AGAIN);
    leave = () => clearTimeout(timer);
  }
}

function showLogin() {
  logout.hidden = true;
  const problem = element("div", { class: "dim", role: "alert" });
  const token = element("input", { type: "password", name: "token", autocomplete: "current-password", placeholder: "bst_…", "aria-label": "Token", required: true });
  const form = element("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      try {
        await call("POST", "/login", { token: token.value.trim() });
        await route();
      } catch (error) {
        problem.textContent = error.status === 401 ? "This token is not valid." : error.message;
      }
    },
  }, element("h1", {}, "Sign in"), element("div", { class: "dim" }, "With an API token. “buildsys up” says where the first one is."), token, element("button", { class: "primary" }, "Sign in"), problem);
  main.replaceChildren(element("div", { class: "card login" }, form));
  token.focus();
}

logout.addEventListener("click", async () => { await call("POST", "/logout").catch(() => {}); leavePage(); showLogin(); });
window.addEventListener("hashchange", route);
route();
