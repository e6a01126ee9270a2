"""``glance-stream stores``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from glance_stream.cli.options import Invocation, json_option, pass_invocation
from glance_stream.cli.teaching import UNWRITTEN, epilog
from glance_stream.errors import EXIT_FAILED, EXIT_PARTIAL

if TYPE_CHECKING:
    from glance_stream.cli.output import Result
    from glance_stream.config import Config
    from glance_stream.stores import Stores

EPILOG = epilog(
    "glance-stream stores",
    "glance-stream stores --json",
    codes=(EXIT_PARTIAL, EXIT_FAILED),
    meanings={EXIT_PARTIAL: "some stores can't be used", EXIT_FAILED: f"no store can be used, or {UNWRITTEN}", 130: "interrupted"},
)


@dataclass
class Seen:
    """One store and whether it can be used now."""

    store: str
    type: str
    where: str | None
    description: str
    default: bool
    read_only: bool
    status: str = "ok"
    message: str = ""


@click.command("stores", epilog=EPILOG)
@json_option
@pass_invocation
def command(invocation: Invocation, /) -> int:
    """Show the configured stores and whether each can be used now.

    All are opened at the same time, and none is waited for very long.
    """
    from glance_stream import loop
    from glance_stream.cli.session import LOOKING, interruptible

    invocation.reporter.only_tells = True
    config = invocation.load_config()  # and no catalogue but for `tell_recorded`: a broken one is not the stores' fault

    async def told() -> Result:
        return await interruptible(invocation.reporter, _stores(config), LOOKING)

    return invocation.reporter.finish(loop.run(told()))


async def _stores(config: Config) -> Result:
    import asyncio

    from glance_stream.cli.output import Result
    from glance_stream.stores import Stores

    stores = Stores(config.stores, transfer=config.transfer)
    try:
        seen = await asyncio.gather(*(_look(config, stores, store_id) for store_id in config.stores))
    finally:
        await stores.close()
    broken = sum(one.status != "ok" for one in seen)
    code = 0 if not broken else EXIT_FAILED if broken == len(seen) else EXIT_PARTIAL
    return Result(code, {"stores": [asdict(one) for one in seen]}, [_line(one) for one in seen])


async def _look(config: Config, stores: Stores, store_id: str) -> Seen:
    from glance_stream.cli.recorded import tell_recorded
    from glance_stream.errors import GlanceStreamError
    from glance_stream.importing.choosing import open_store

    settings = config.stores[store_id]
    seen = Seen(store_id, settings.type, None, settings.description, store_id == config.default_store, settings.read_only)
    try:
        store = stores[store_id]
        seen.where, seen.read_only = store.where, store.traits.read_only
        await tell_recorded(config, store)
        await open_store(store)
    except GlanceStreamError as error:
        seen.status, seen.message = "error", str(error)
    except Exception as error:  # a driver's bug, or an SDK that is not installed: this store's trouble and nobody else's
        seen.status, seen.message = "error", f"{type(error).__name__}: {error}"
    return seen


def _line(seen: Seen) -> str:
    facts = [seen.type, seen.where or "", "default" if seen.default else "", "read-only" if seen.read_only else ""]
    state = seen.status if not seen.message else f"{seen.status}: {seen.message}"
    about = f"  ({seen.description})" if seen.description else ""
    return f"{seen.store}  {', '.join(fact for fact in facts if fact)}{about}  {state}"
