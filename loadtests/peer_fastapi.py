"""What a team writes today: FastAPI over a Redis sorted set.

Started by `bench_http.py` under uvicorn, with ``REDIS_PORT`` in the environment. A submit is one
round trip to Redis: a pipeline, without a transaction, of ZADD and ZREVRANK.
"""

from __future__ import annotations

import os

from fastapi import FastAPI
from pydantic import BaseModel
from redis.asyncio import ConnectionPool, Redis

app = FastAPI()
# The default of 100 connections would answer 500 to more requests at once.
pool = ConnectionPool(port=int(os.environ["REDIS_PORT"]), max_connections=1024)
redis = Redis(connection_pool=pool)


class Submit(BaseModel):
    """A score that a member has reached."""

    member: str
    score: int


class Receipt(BaseModel):
    """Where it left the member."""

    member: str
    score: int
    rank: int


@app.post("/v1/boards/{board}/scores")
async def submit(board: str, submit: Submit) -> Receipt:
    async with redis.pipeline(transaction=False) as pipe:
        # A pipeline only notes the commands; the annotations are those of a plain client.
        pipe.zadd(board, {submit.member: submit.score})  # type: ignore[unused-awaitable]
        pipe.zrevrank(board, submit.member)  # type: ignore[unused-awaitable]
        _, rank = await pipe.execute()
    return Receipt(member=submit.member, score=submit.score, rank=rank + 1)
