"""What moving an image into and out of an S3 bucket costs: ours, boto3 and glance_store's driver, side by side in one run.

    python bench/s3_cost.py http://127.0.0.1:7480 ACCESS SECRET --region us-east-1 --bucket bench --size 268435456

Each part runs in a process of its own, so that its peak of memory is its own: the interpreter and all libraries are in it.
The watch starts when a client is ready (glance_store makes one for each call, and pays for it); reading the source is in it,
what the server spends is not. Rounds begin with another part each.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from glance_stream import threads
from glance_stream.benchmark import workload
from glance_stream.benchmark.peak import peak_bytes
from glance_stream.benchmark.stopwatch import Stopwatch
from glance_stream.chunker import Ring
from glance_stream.model import Location
from glance_stream.stores.s3 import S3Options, S3Store

Checksum = Literal["crc32", "md5"]
CHUNK = 64 << 10  # Glance's


@dataclass(frozen=True)
class Server:
    endpoint: str
    access_key: str
    secret_key: str
    region: str
    bucket: str


@dataclass(frozen=True)
class Cost:
    """``size``: bytes moved. ``peak``: bytes of memory, the whole process."""

    seconds: float
    cpu: float
    peak: int
    size: int


# -- ours -------------------------------------------------------------------------------------------------------------------------


def our_store(server: Server, checksum: Checksum = "crc32") -> S3Store:
    return S3Store.from_options("s3", S3Options(**asdict(server), addressing_style="path", checksum=checksum))


def ring_alone(_server: Server, source: Path, _key: str) -> Cost:
    """What a transfer spends before any store: reading the source, zero scan, fingerprints. To be taken off the rows of writing."""
    watch = Stopwatch()
    ring = Ring()
    lane = ring.lane()
    draining = threads.THREADS.submit(lambda: [None for _ in lane])
    with source.open("rb", buffering=0) as file:
        ring.fill_fd(file.fileno())
    ring.finish()
    draining.result()
    done = watch.read()
    return Cost(done.seconds, done.cpu, peak_bytes(), source.stat().st_size)


def write_ours_md5(server: Server, source: Path, key: str) -> Cost:
    """As by default over plain http to a server that does not confirm a CRC32, such as radosgw."""
    return write_ours(server, source, key, "md5")


def write_ours(server: Server, source: Path, key: str, checksum: Checksum = "crc32") -> Cost:
    """Through the ring, as a transfer does, without its digests."""

    size = source.stat().st_size

    async def run() -> Cost:
        store = our_store(server, checksum)
        await store.open()
        watch = Stopwatch()
        writer = await store.open_writer(key, size)
        ring = Ring()
        lane = writer.attach(ring)
        draining = asyncio.ensure_future(threads.call(writer.drain, lane))
        with source.open("rb", buffering=0) as file:
            await threads.call(ring.fill_fd, file.fileno())
        ring.finish()
        await draining
        await writer.flush(size)
        await writer.commit(size, {})
        done = watch.read()
        await store.close()
        return Cost(done.seconds, done.cpu, peak_bytes(), size)

    return asyncio.run(run())


def read_ours(server: Server, _: Path, key: str) -> Cost:
    store = our_store(server)
    asyncio.run(store.open())
    watch = Stopwatch()
    with closing(store.open_reader(Location(f"{store.where}/{key}", "s3"))) as reader:
        reader.open()
        view, size = memoryview(bytearray(4 << 20)), 0
        while count := reader.readinto(view):
            size += count
    return Cost(*_read(watch), size)


# -- boto3 and glance_store -------------------------------------------------------------------------------------------------------


def boto3_client(server: Server) -> Any:
    import boto3
    from botocore.config import Config

    keys = {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key}
    config = Config(s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=server.endpoint, region_name=server.region, config=config, **keys)


def write_boto3(server: Server, source: Path, key: str) -> Cost:
    with closing(boto3_client(server)) as client, source.open("rb") as file:
        watch = Stopwatch()
        client.upload_fileobj(file, server.bucket, key)
        return Cost(*_read(watch), source.stat().st_size)


def read_boto3(server: Server, _: Path, key: str) -> Cost:
    with closing(boto3_client(server)) as client:
        watch = Stopwatch()
        with closing(client.get_object(Bucket=server.bucket, Key=key)["Body"]) as body:
            size = sum(map(len, body.iter_chunks(1 << 20)))
        return Cost(*_read(watch), size)


def glance_driver(server: Server) -> Any:
    from glance_store import backend, location
    from glance_store._drivers.s3 import Store
    from oslo_config import cfg

    conf = cfg.ConfigOpts()
    backend.register_opts(conf)
    conf.register_opts(Store.OPTIONS, group="glance_store")
    conf([], default_config_files=[])
    options = {
        "host": server.endpoint,
        "region_name": server.region,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "bucket": server.bucket,
        "bucket_url_format": "path",
    }
    for name, value in options.items():
        conf.set_override(f"s3_store_{name}", value, group="glance_store")
    driver = Store(conf)
    driver.configure()
    location.register_scheme_map({"s3": {"store": driver, "location_class": _location_class(), "store_entry": "s3"}})
    return driver


def _location_class() -> Any:
    from glance_store._drivers.s3 import StoreLocation

    return StoreLocation


def write_glance(server: Server, source: Path, key: str) -> Cost:
    """It hashes too, md5 and sha512: compare with the row that does nothing else."""
    driver = glance_driver(server)
    with source.open("rb") as file:
        watch = Stopwatch()
        driver.add(key, file, source.stat().st_size, "sha512")
        return Cost(*_read(watch), source.stat().st_size)


def read_glance(server: Server, _: Path, key: str) -> Cost:
    from glance_store import location

    driver = glance_driver(server)
    watch = Stopwatch()
    place = location.get_location_from_uri(f"s3://{server.endpoint.partition('://')[2]}/{server.bucket}/{key}", conf=driver.conf)
    chunks, _size = driver.get(place)
    return Cost(*_read(watch, lambda: sum(map(len, chunks))))


def digest_alone(_server: Server, source: Path, _key: str) -> Cost:
    watch = Stopwatch()
    sums = [hashlib.md5(usedforsecurity=False), hashlib.sha512()]
    with source.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            for each in sums:
                each.update(chunk)
    return Cost(*_read(watch), source.stat().st_size)


def _read(watch: Stopwatch, work: Callable[[], int] | None = None) -> tuple[Any, ...]:
    size = [work()] if work else []
    done = watch.read()
    return (done.seconds, done.cpu, peak_bytes(), *size)


PARTS: Mapping[str, Callable[[Server, Path, str], Cost]] = {
    "ring and source alone": ring_alone,
    "write: glance-stream": write_ours,
    "write: glance-stream, md5": write_ours_md5,
    "write: boto3 upload_fileobj": write_boto3,
    "write: glance_store add": write_glance,
    "md5 and sha512 alone": digest_alone,
    "read: glance-stream": read_ours,
    "read: boto3 get_object": read_boto3,
    "read: glance_store get": read_glance,
}


def cost_of(part: str, server: Server, source: Path, key: str) -> Cost:
    """Of the part in a process of its own. What is read must be there already."""
    asked = json.dumps({"part": part, "server": asdict(server), "source": str(source), "key": key})
    done = subprocess.run([sys.executable, __file__], input=asked, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{part}: {done.stderr.strip()[-2000:]}")
    return Cost(**json.loads(done.stdout))


def run_rounds(server: Server, source: Path, rounds: int) -> dict[str, list[Cost]]:
    costs: dict[str, list[Cost]] = {part: [] for part in PARTS}
    with closing(boto3_client(server)) as client:
        stays = str(uuid.uuid4())
        client.upload_file(str(source), server.bucket, stays)
        for turn in range(rounds):
            order = [*PARTS][turn:] + [*PARTS][:turn]
            for part in order:
                key = str(uuid.uuid4()) if part.startswith("write") else stays
                costs[part].append(cost_of(part, server, source, key))
                if key != stays:
                    client.delete_object(Bucket=server.bucket, Key=key)
        client.delete_object(Bucket=server.bucket, Key=stays)
    return costs


def table_of(costs: Mapping[str, list[Cost]]) -> Table:
    table = Table("part", "CPU s/GB", "fastest", "slowest", "x ours", "MB/s", "peak MiB", title="S3, medians")
    for part, rounds in costs.items():
        per_gb = [cost.cpu / cost.size * 1e9 for cost in rounds]
        ours = costs.get(f"{part.partition(':')[0]}: glance-stream")
        ratio = statistics.median(per_gb) / statistics.median(cost.cpu / cost.size * 1e9 for cost in ours) if ours else None
        table.add_row(
            part,
            f"{statistics.median(per_gb):.2f}",
            f"{min(per_gb):.2f}",
            f"{max(per_gb):.2f}",
            "" if ratio is None else f"{ratio:.1f}",
            f"{statistics.median(cost.size / cost.seconds for cost in rounds) / 1e6:.0f}",
            f"{statistics.median(cost.peak for cost in rounds) / (1 << 20):.0f}",
        )
    return table


def main() -> None:
    if len(sys.argv) == 1:  # one part, for `cost_of`
        asked = json.load(sys.stdin)
        cost = PARTS[asked["part"]](Server(**asked["server"]), Path(asked["source"]), asked["key"])
        print(json.dumps(asdict(cost)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("endpoint", "access_key", "secret_key"):
        parser.add_argument(name)
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--bucket", default="bench", help="must be there")
    parser.add_argument("--size", type=int, default=256 << 20, help="bytes")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    server = Server(given.endpoint, given.access_key, given.secret_key, given.region, given.bucket)
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "image"
        workload.make(source, given.size)
        workload.warm(source)
        Console(width=120).print(table_of(run_rounds(server, source, given.rounds)))


if __name__ == "__main__":
    main()
