"""Errors of the API: one JSON shape, `{"error", "detail", "body", "errors"}`; HTTPException with its own status, all
else 500.
"""

from __future__ import annotations

import time
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import HTTPException
from fastapi.responses import JSONResponse

from modules import errors, shared


def _handle_exception(request: Request, e: Exception) -> JSONResponse:
    own = {"status_code": 500, "detail": "", "body": "", **vars(e)}
    answer = {"error": type(e).__name__, "detail": own["detail"], "body": own["body"], "errors": str(e)}
    if not isinstance(e, HTTPException):
        errors.report(f"{request.method} {request.url} failed: {answer}", exc_info=True)
    return JSONResponse(jsonable_encoder(answer), own["status_code"])


def api_middleware(app: FastAPI) -> None:
    @app.middleware("http")
    async def log_and_time(req: Request, call_next: Any) -> Any:
        started = time.time()
        res = await call_next(req)
        res.headers["X-Process-Time"] = str(round(time.time() - started, 4))
        if shared.cmd_opts.api_log and req.scope.get("path", "").startswith("/sdapi"):
            print(f"API {res.status_code} {req.method} {req.scope.get('path')} {res.headers['X-Process-Time']}")
        return res

    @app.middleware("http")
    async def exception_handling(request: Request, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except Exception as e:
            return _handle_exception(request, e)

    @app.exception_handler(Exception)
    async def fastapi_exception_handler(request: Request, e: Exception) -> Any:
        return _handle_exception(request, e)

    @app.exception_handler(HTTPException)
    async def http_exception_handler(request: Request, e: HTTPException) -> Any:
        return _handle_exception(request, e)
