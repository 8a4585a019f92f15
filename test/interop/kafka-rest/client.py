"""Replays requests with a real client library, over one connection that is kept.

    client.py requests|httpx URL < [{"method", "path", "headers", "body"}] > [{"status", "type", "text"}]

A body that is a list is sent chunked; `gzip` in the headers has it compressed here.
"""
import gzip
import json
import sys

library, base = sys.argv[1:3]
exchanges = json.load(sys.stdin)

if library == "requests":
    import requests

    session = requests.Session()
else:
    import httpx

    session = httpx.Client()


def content(exchange):
    body = exchange.get("body")
    if body is None:
        return None
    if isinstance(body, list):
        return (part.encode() for part in body)
    plain = body.encode()
    return gzip.compress(plain) if exchange["headers"].get("Content-Encoding") == "gzip" else plain


def send(exchange):
    body = content(exchange)
    named = {} if body is None else {"data" if library == "requests" else "content": body}
    answer = session.request(exchange["method"], base + exchange["path"], headers=exchange["headers"], **named)
    return {"status": answer.status_code, "type": answer.headers.get("content-type", ""), "text": answer.text}


json.dump([send(exchange) for exchange in exchanges], sys.stdout)
