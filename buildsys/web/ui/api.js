// Calls the API with the page's session. A lost session brings the sign-in back.

export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function call(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: { "X-Requested-With": "buildsys", ...(body ? { "Content-Type": "application/json" } : {}) },
    body: body ? JSON.stringify(body) : undefined,
  });
  const answer = response.status === 204 ? null : await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(response.status, answer?.detail ?? answer?.title ?? response.statusText);
  return answer;
}

export const get = (path) => call("GET", `/api/v1${path}`);
export const post = (path, body) => call("POST", `/api/v1${path}`, body);
