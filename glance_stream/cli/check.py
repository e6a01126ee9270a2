"""``glance-stream check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from glance_stream.cli import sizes
from glance_stream.cli.options import Invocation, json_option, pass_invocation
from glance_stream.cli.teaching import UNWRITTEN, epilog
from glance_stream.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_LEFTOVERS, EXIT_PARTIAL

if TYPE_CHECKING:
    from glance_stream.cli.output import Result
    from glance_stream.config import Config
    from glance_stream.errors import GlanceStreamError
    from glance_stream.importing.check import StoreCheck
    from glance_stream.stores import Stores

EPILOG = epilog(
    "glance-stream check",
    "glance-stream check fast file:///mnt/usb --size 256MiB",
    "glance-stream --glance-config /etc/glance check --no-write",
    codes=(EXIT_PARTIAL, EXIT_FAILED, EXIT_LEFTOVERS),
    meanings={
        EXIT_PARTIAL: "some stores failed",
        EXIT_FAILED: f"all stores failed, or {UNWRITTEN}",
        EXIT_LEFTOVERS: "the test object could not be removed: it is named",
        EXIT_INTERRUPTED: "interrupted, and nothing was left",
    },
)


@click.command("check", epilog=EPILOG)
@click.argument("stores", metavar="[STORE]...", nargs=-1)
@click.option("--size", default="8MiB", show_default=True, metavar="SIZE", help="Of the object that is written, read and deleted.")
@click.option("--no-write", is_flag=True, help="Open the stores and ask them only.")
@json_option
@pass_invocation
def command(invocation: Invocation, /, stores: tuple[str, ...], size: str, no_write: bool) -> int:
    """Try out every store, or each STORE: does it open, answer, write, read and delete?

    All are opened at once; then one after the other writes an object of random bytes under a new name, as an import would, reads
    it back, compares and deletes it. A read-only store is only asked. Latency is that of a look for an image that is not there.
    """
    from glance_stream import loop
    from glance_stream.cli.session import LOOKING, UNRECORDED, interruptible
    from glance_stream.config import parse_size

    try:
        wanted = None if no_write else int(parse_size(size))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--size") from error
    invocation.reporter.only_tells = True
    config = invocation.load_config()  # and no catalogue but for `tell_recorded`: a broken one is not the stores' fault

    async def told() -> Result:
        words = LOOKING if wanted is None else UNRECORDED
        return await interruptible(invocation.reporter, _check(invocation, config, stores, wanted), words)

    return invocation.reporter.finish(loop.run(told()))


async def _check(invocation: Invocation, config: Config, chosen: tuple[str, ...], size: int | None) -> Result:
    import asyncio

    from glance_stream.cli.recorded import tell_recorded
    from glance_stream.importing.check import open_all, try_out
    from glance_stream.importing.site import limits_of
    from glance_stream.stores import Stores

    stores = Stores(config.stores, transfer=config.transfer)
    rows = _rows(stores, chosen or tuple(config.stores))
    checks = [row for row in rows.values() if not isinstance(row, Exception)]
    interrupted = False
    try:
        await asyncio.gather(*(tell_recorded(config, check.store) for check in checks))
        await open_all(checks)
        for check in (one for one in checks if one.error is None):
            invocation.reporter.reading = check.store.store_id
            await try_out(check, size, limits_of(config), invocation.reporter.progress)
    except asyncio.CancelledError:
        interrupted = True
    finally:
        await stores.close()
    return _result(config, rows, interrupted)


def _rows(stores: Stores, chosen: tuple[str, ...]) -> dict[str, StoreCheck | GlanceStreamError]:
    """A check of each store, or why there is none. Raises InvalidRequest for a store that is not configured."""
    from glance_stream.errors import GlanceStreamError, InvalidRequest
    from glance_stream.importing.check import StoreCheck
    from glance_stream.transfer.target import as_store_error

    rows: dict[str, StoreCheck | GlanceStreamError] = {}
    for name in chosen:
        try:
            store = stores[name]
            rows[store.store_id] = StoreCheck(store)
        except KeyError:
            raise InvalidRequest(f"there is no store {name!r}; there are: {', '.join(stores)}") from None
        except Exception as error:  # an option that is wrong, an SDK that is not installed: this store's trouble and nobody else's
            if name not in stores or "://" in name:
                raise
            rows[name] = error if isinstance(error, GlanceStreamError) else as_store_error(name, error)
    return rows


def _result(config: Config, rows: dict[str, StoreCheck | GlanceStreamError], interrupted: bool) -> Result:
    from glance_stream.cli.output import Result
    from glance_stream.cli.results import leftover_fields

    fields = [_fields(config, store_id, row) for store_id, row in rows.items()]
    leftovers = [left for row in rows.values() if not isinstance(row, Exception) for left in row.leftovers]
    failed = sum(one["status"] != "ok" for one in fields)
    code = EXIT_INTERRUPTED if interrupted else 0 if not failed else EXIT_FAILED if failed == len(fields) else EXIT_PARTIAL
    complaints = [f"left behind in {left.store_id}: {left.trace}: {left.reason}" for left in leftovers]
    complaints += ["remove it by hand: no record knows it"] if leftovers else []
    return Result(
        EXIT_LEFTOVERS if leftovers else code,
        {"stores": fields, "leftovers": leftover_fields(leftovers)},
        [line for one in fields for line in _lines(one)],
        complaints,
        ("Interrupted", "interrupted") if interrupted else None,
    )


def _fields(config: Config, store_id: str, row: StoreCheck | GlanceStreamError) -> dict[str, Any]:
    settings = config.stores.get(store_id)
    error = row if isinstance(row, Exception) else row.error
    fields: dict[str, Any] = {
        "store": store_id,
        "type": settings.type if settings else None,
        "where": None,
        "description": settings.description if settings else "",
        "default": store_id == config.default_store,
        "read_only": settings.read_only if settings else False,
        "status": "error" if isinstance(row, Exception) else row.status,
        "message": "" if error is None else str(error),
    }
    return fields if isinstance(row, Exception) else fields | _measured(row)


def _measured(check: StoreCheck) -> dict[str, Any]:
    store, traits = check.store, check.store.traits
    return {
        "type": store.type,
        "where": store.where,
        "read_only": traits.read_only,
        "thin": traits.thin,
        "needs_size": traits.needs_size,
        "atomic_commit": traits.atomic_commit,
        "free": check.free,
        "latency": None if check.latency is None else round(check.latency, 6),
        "tested": check.size,
        "write_rate": _rate(check.size, check.write_seconds),
        "read_rate": _rate(check.size, check.read_seconds),
    }


def _rate(size: int, seconds: float | None) -> int | None:
    return round(size / seconds) if seconds else None


def _lines(one: dict[str, Any]) -> list[str]:
    facts = [one["type"], one["where"], "default" if one["default"] else "", "read-only" if one["read_only"] else ""]
    about = f"  ({one['description']})" if one["description"] else ""
    state = f"{one['status']}: {one['message']}" if one["message"] else one["status"]
    told = {
        "free": None if one.get("free") is None else sizes.iec(one["free"]),
        "latency": None if one.get("latency") is None else f"{1000 * one['latency']:.1f} ms",
        "writing": _speed(one, "write_rate"),
        "reading": _speed(one, "read_rate"),
        "kind": ", ".join(_kinds(one)),
    }
    return [
        f"{one['store']}  {', '.join(fact for fact in facts if fact)}{about}  {state}",
        *(f"  {name:<11} {value}" for name, value in told.items() if value),
    ]


def _speed(one: dict[str, Any], name: str) -> str | None:
    rate = one.get(name)
    return None if rate is None else f"{sizes.iec(one['tested'])} at {sizes.iec(rate)}/s"


def _kinds(one: dict[str, Any]) -> list[str]:
    """What sets the store apart from others."""
    kinds = {
        "leaves out zeros": one.get("thin"),
        "must know the size": one.get("needs_size"),
        "shows what is not complete yet": one.get("atomic_commit") is False,
    }
    return [kind for kind, holds in kinds.items() if holds and not one["read_only"]]
