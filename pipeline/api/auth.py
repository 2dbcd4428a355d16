"""The gate in front of everything: host name, origin, token. As with Jupyter: loopback, a token in the first link.

host      bound to loopback, only loopback names are answered, and the public name (`[api] public_host`) that a
          reverse proxy on this machine serves; so a name re-bound by DNS gets nothing
token     `Authorization: Bearer`, or the cookie that `?token=` (or the form) has set; compared in constant time
origin    a browser's unsafe request or WebSocket must come from our own page, by either name, and the
          cookie is SameSite=Strict
open      /healthz, and the libraries of the console, which are the same for everybody
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.api.login import login_page
from pipeline.api.problems import problem
from pipeline.ports import UserError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
OPEN = ("/healthz", "/favicon.ico", "/assets/")
OPEN_LIBRARY = ("static", "libraries", "components", "esm", "resources")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
DEFAULT_USER = "operator"
SHORTEST = 8
COOKIE_DAYS = 30
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
        "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    ),
}
"""The console's library needs inline scripts and eval; what matters is that no page can reach another host. Without
any referrer a browser posts our own form with `Origin: null`, and that is refused."""


def users_of(setting: str) -> dict[str, str]:
    """User name by token, from `token` or `name:token[,name:token...]`. UserError for a token that is too short."""
    users: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in setting.split(","))):
        name, colon, token = entry.partition(":")
        users[token if colon else entry] = name if colon else DEFAULT_USER
    if any(len(token) < SHORTEST for token in users):
        raise UserError(f"[api] token: a token has at least {SHORTEST} characters; leave it empty to have one made")
    return users


def new_token() -> str:
    """192 random bits, safe in a URL."""
    return secrets.token_urlsafe(24)


class Gate:
    """ASGI middleware. A request that passes carries its user's name in `request.state.user`."""

    def __init__(
        self, app: ASGIApp, *, users: Mapping[str, str], host: str, port: int, public_host: str = ""
    ) -> None:
        self._app = app
        self._users = {token.encode(): user for token, user in users.items()}
        self._sessions = {_session(token): user for token, user in self._users.items()}
        self._loopback = host in LOOPBACK or host.startswith("127.")
        self._public = public_host.lower()
        self._names = LOOPBACK | {_hostname(self._public)} if public_host else LOOPBACK
        self.cookie = f"vedette-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        answer = await self._refusal(scope, receive)
        if answer is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
        else:
            await answer(scope, receive, _with_headers(send))

    async def _refusal(self, scope: Scope, receive: Receive) -> Response | None:
        """The answer of the gate itself, or None to let the request through."""
        headers = Headers(scope=scope)
        path = scope["path"]
        if self._loopback and _hostname(headers.get("host", "")) not in self._names:
            return problem(421, "this server answers only to 127.0.0.1, localhost and its [api] public_host")
        if _is_open(path):
            return None
        if not _same_origin(scope, headers, self._public):
            return problem(403, "a request from a page of another site")
        if path == "/login" and scope["method"] == "POST":
            return await self._login(Request(scope, receive))
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if "token" in query and scope["type"] == "http":
            return self._first_visit(scope, query["token"][0])
        user = self._user(headers)
        if user is None:
            return _ask(path, headers)
        scope.setdefault("state", {})["user"] = user
        return None

    def _user(self, headers: Headers) -> str | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return _find(self._users, token.strip().encode())
        return _find(self._sessions, _cookie(headers, self.cookie).encode())

    def _first_visit(self, scope: Scope, token: str) -> Response:
        """Exchange `?token=` for the cookie, and take it out of the address bar."""
        if _find(self._users, token.encode()) is None:
            return _ask(scope["path"], Headers(scope=scope), wrong=True)
        rest = [(k, v) for k, v in parse_qsl(scope["query_string"].decode("latin-1")) if k != "token"]
        response = RedirectResponse(_local(scope["path"]) + ("?" + urlencode(rest) if rest else ""), 303)
        self._admit(response, token)
        return response

    async def _login(self, request: Request) -> Response:
        form = parse_qs((await request.body())[:4096].decode("utf-8", "replace"))
        token = form.get("token", [""])[0].strip()
        if _find(self._users, token.encode()) is None:
            return HTMLResponse(login_page(wrong=True), 401)
        response = RedirectResponse("/", 303)
        self._admit(response, token)
        return response

    def _admit(self, response: Response, token: str) -> None:
        response.set_cookie(
            self.cookie,
            _session(token.encode()).decode(),
            max_age=COOKIE_DAYS * 86_400,
            httponly=True,
            samesite="strict",
        )


def _session(token: bytes) -> bytes:
    """What the cookie holds: made from the token, and not the token."""
    return hmac.new(token, b"vedette console", hashlib.sha256).hexdigest().encode()


def _find(known: Mapping[bytes, str], given: bytes) -> str | None:
    """The user of `given`; every entry is compared, each in constant time."""
    found = None
    for token, user in known.items():
        found = user if hmac.compare_digest(token, given) else found
    return found


def _cookie(headers: Headers, name: str) -> str:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    return jar[name].value if name in jar else ""


def _hostname(host: str) -> str:
    """`localhost` of `localhost:8080`, `::1` of `[::1]:8080`."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _local(path: str) -> str:
    """A path that cannot be read as another host (`//evil`)."""
    return "/" + path.lstrip("/\\")


def _same_origin(scope: Scope, headers: Headers, public: str) -> bool:
    """Bearer requests come from programs; a browser's unsafe requests and WebSockets must carry our Origin.

    A proxy may put its own name into Host, so the Origin may be the `public` name, port included, beside Host.
    """
    if scope["type"] == "http" and (scope["method"] in SAFE or "authorization" in headers):
        return True
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in ("same-origin", "none")
    return origin.partition("://")[2].lower() in {headers.get("host", "").lower(), public} - {""}


def _is_open(path: str) -> bool:
    if path.startswith("/_nicegui/"):
        parts = path.split("/")
        return len(parts) > 3 and parts[3] in OPEN_LIBRARY
    return path.startswith(OPEN)


def _ask(path: str, headers: Headers, *, wrong: bool = False) -> Response:
    if "text/html" in headers.get("accept", "") and not path.startswith("/api/"):
        return HTMLResponse(login_page(wrong=wrong), 401)
    what = "this token is not known" if wrong or "authorization" in headers else "no token"
    detail = f"{what}: send `Authorization: Bearer TOKEN`, or open the address that the server printed at its start"
    return problem(401, detail, headers={"WWW-Authenticate": "Bearer"})


def _with_headers(send: Send) -> Send:
    async def sending(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", []))  # type: ignore[call-overload]
            extra = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
            message = {**message, "headers": given + extra}
        await send(message)

    return sending  # type: ignore[return-value]
