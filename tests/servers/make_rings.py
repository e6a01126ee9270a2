"""Swift's three rings of one device; run by the servers' own Python. Nine starts of swift-ring-builder would take 9 s."""

import sys

from swift.common.ring import RingBuilder

directory, *ports = sys.argv[1:]
for kind, port in zip(("account", "container", "object"), ports, strict=True):
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=1)
    where = {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1", "weight": 1.0, "meta": ""}
    builder.add_dev({**where, "replication_ip": "127.0.0.1", "replication_port": int(port)})
    builder.rebalance()
    builder.get_ring().save(f"{directory}/{kind}.ring.gz")
