// Calls the API with the page's session, and says on every page when nobody answers.

const outage = document.getElementById("outage");

export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status; // 0: there was no answer
  }

  get passes() { // a restart, or a proxy without a server behind it: to be asked again
    return [0, 502, 503, 504].includes(this.status);
  }
}

export async function call(method, path, body, read = asJson) {
  try {
    const answer = await request(method, path, body, read);
    outage.hidden = true;
    return answer;
  } catch (error) {
    outage.hidden = !error.passes;
    throw error;
  }
}

export const get = (path) => call("GET", `/api/v1${path}`);
export const getText = (path) => call("GET", `/api/v1${path}`, undefined, (response) => response.text());
export const post = (path, body) => call("POST", `/api/v1${path}`, body);

const asJson = (response) => (response.status === 204 ? null : response.json().catch(() => null));

async function request(method, path, body, read) {
  const response = await fetch(path, {
    method,
    headers: { "X-Requested-With": "buildsys", ...(body ? { "Content-Type": "application/json" } : {}) },
    body: body ? JSON.stringify(body) : undefined,
  }).catch(() => { throw new ApiError(0, "The server does not answer."); });
  const answer = await (response.ok ? read : asJson)(response);
  if (!response.ok) throw new ApiError(response.status, answer?.detail ?? answer?.title ?? response.statusText);
  return answer;
}
