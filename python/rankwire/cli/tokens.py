"""``rankwire tokens``: keys for players' tokens, and tokens to develop and test with."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from rankwire import _core
from rankwire.cli._options import board_patterns, examples, load_settings, some_settings
from rankwire.cli._output import Failure

ALGORITHMS: Final = ("ES256", "EdDSA", "HS256")
SCOPES: Final = ("read", "submit")

_MEMBER_BYTES: Final = 128
_LONGEST_SECONDS: Final = 366 * 86_400
_FOR_ITS_OWNER: Final = 0o600
_FOR_ALL: Final = 0o644

_file = click.Path(dir_okay=False, path_type=Path)


@click.group(
    "tokens",
    short_help="Make keys for players' tokens, and tokens to try them.",
    epilog=examples(
        "rankwire tokens keygen --private login.jwk --jwks players.jwks",
        "rankwire serve --auth-mode keys --auth-tokens players.jwks",
        "rankwire tokens issue --key login.jwk --member ada",
    ),
)
def command() -> None:
    """Make keys for the tokens of players, and tokens to try them.

    A token is a JSON Web Token that says which member a player is. The login server of a game
    signs it with the private key, the player sends it, and Rankwire checks it with the public keys
    in the file of auth.tokens. It never sees the private key.
    """


@command.command(
    "keygen",
    short_help="Make a private key and the JWKS file for it.",
    epilog=examples(
        "rankwire tokens keygen --private login.jwk --jwks players.jwks",
        "rankwire tokens keygen --alg EdDSA --private new.jwk --jwks new.jwks",
    ),
)
@click.option(
    "--alg",
    type=click.Choice(ALGORITHMS),
    default=ALGORITHMS[0],
    show_default=True,
    help="Algorithm. With HS256 there is one secret, which both files hold.",
)
@click.option("--private", type=_file, required=True, help="New file for who signs tokens.")
@click.option("--jwks", type=_file, required=True, help="New file for the server: auth.tokens.")
def keygen(*, alg: str, private: Path, jwks: Path) -> None:
    """Make a key to sign the tokens of players with.

    Files that are there already are not touched. To exchange a key, put the keys of both JWKS files
    into one array: the server reads the file again when it changes.
    """
    private_jwk, public_jwk = _core.Access.new_token_key(alg, secrets.token_hex(8))
    document = msgspec.json.encode({"keys": [msgspec.Raw(public_jwk.encode())]})
    _create(private, private_jwk.encode(), _FOR_ITS_OWNER)
    try:
        # A key of HS256 is as secret there as in the other file.
        _create(jwks, document, _FOR_ITS_OWNER if alg == "HS256" else _FOR_ALL)
    except BaseException:
        private.unlink()
        raise
    click.echo(f"{private} signs tokens: keep it where the game's login server is.")
    click.echo(f"{jwks} checks them: rankwire serve --auth-mode keys --auth-tokens {jwks}")


@command.command(
    "issue",
    short_help="Print a token of a player, to develop and test with.",
    epilog=examples(
        "rankwire tokens issue --key login.jwk --member ada",
        "rankwire tokens issue --key login.jwk --member ada --ttl 60 --scope read --board 'cup-*'",
    ),
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Private key of 'rankwire tokens keygen'.",
)
@click.option("--member", required=True, help="Which member the player is.")
@click.option(
    "--ttl",
    type=click.IntRange(1, _LONGEST_SECONDS),
    default=3600,
    show_default=True,
    help="Seconds until the token ends.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What the player may do. Repeatable. [default: both]",
)
@board_patterns
@some_settings("auth.audience", "auth.issuer")
def issue(
    *,
    key: Path,
    member: str,
    ttl: int,
    scopes: tuple[str, ...],
    boards: tuple[str, ...],
    config_file: Path | None,
    **flags: str | None,
) -> None:
    """Print a token, to develop and test with.

    In a game the login server does this, once it knows who the player is. A token cannot be taken
    back before it ends, so let it end soon and have the game fetch the next one.
    """
    if not 1 <= len(member.encode()) <= _MEMBER_BYTES:
        raise click.BadParameter(f"a member has 1 to {_MEMBER_BYTES} bytes", param_hint="--member")
    auth = load_settings(config_file, flags).auth
    now = int(time.time())
    claims: dict[str, Any] = {"sub": member, "iat": now, "exp": now + ttl}
    optional = {
        "scope": " ".join(scopes),
        "boards": boards,
        "aud": auth.audience,
        "iss": auth.issuer,
    }
    claims |= {name: value for name, value in optional.items() if value}
    try:
        token = _core.Access.sign_token(key.read_bytes(), msgspec.json.encode(claims))
    except (OSError, _core.InvalidError) as error:
        raise Failure(f"cannot sign with {key}: {_reason(error)}") from error
    click.echo(token)


def _create(file: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as output:
            output.write(content + b"\n")
    except FileExistsError as error:
        raise Failure(f"{file} is there already; it is not overwritten") from error
    except OSError as error:
        raise Failure(f"cannot write {file}: {error.strerror}") from error


def _reason(error: OSError | _core.InvalidError) -> str:
    return str(error.strerror if isinstance(error, OSError) else error.args[0])
