"""Images, benign and hostile, of a few hundred KiB at most, made from the formats' public specifications.

Each is what an attacker or an operator may hand in; what becomes of it is for the inspectors to say.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable

SECTOR = 512
FOOTER_BELOW = 0xFFFFFFFFFFFFFFFF
BODY = bytes(range(1, 252)) * 1200  # what no format knows: no zeros, not text


def qcow2(version: int = 3, *, backing: int = 0, incompatible: int = 0, size: int = 1 << 30, body: bytes = BODY) -> bytes:
    """docs/interop/qcow2.txt of qemu."""
    header = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", version, backing, 9 if backing else 0, 16, size, 0, 1, 0x30000, 0x10000, 1, 0, 0
    )
    header += struct.pack(">QQQII", incompatible, 0, 0, 4, 104)
    return header.ljust(SECTOR, b"\0") + body


def descriptor(create_type: str = "monolithicSparse", extents: str = 'RW 2048 SPARSE "disk.vmdk"', more: str = "") -> bytes:
    head = f'# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="{create_type}"\n\n'
    return f'{head}{extents}\n{more}\nddb.x = "1"\n'.encode()


def vmdk_header(sectors: int = 2048, *, version: int = 1, at: int = 1, length: int = 20, directory: int = 21) -> bytes:
    return struct.pack("<4sIIQQQQIQQ", b"KDMV", version, 3, sectors, 128, at, length, 512, 0, directory).ljust(SECTOR, b"\0")


def vmdk(text: bytes | None = None, **header: int) -> bytes:
    text = descriptor() if text is None else text
    return vmdk_header(**header) + text.ljust(20 * SECTOR, b"\0") + BODY


def vmdk_with_footer(*, marker: int = 3, same: bool = True, text: bytes | None = None) -> bytes:
    """streamOptimized: the last 1,536 bytes are a marker, a second header and the end of the stream."""
    text = descriptor("streamOptimized") if text is None else text
    head = vmdk_header(directory=FOOTER_BELOW, version=3)
    second = vmdk_header(version=3, at=1 if same else 9)
    end = struct.pack("<QII496s", 1, 0, marker, b"\0" * 496) + second + bytes(SECTOR)
    return head + text.ljust(20 * SECTOR, b"\0") + BODY + end


def vhd(size: int = 1 << 30) -> bytes:
    return (b"conectix" + bytes(32) + struct.pack(">Q", size)).ljust(SECTOR, b"\0") + BODY


def vhdx(
    *,
    entries: int = 1,
    metadata: int = 0x200000,
    items: int = 1,
    size: int = 1 << 30,
    signature: bytes = b"metadata",
    item: int = 0x10000,
) -> bytes:
    """MS-VHDX: the region table at 192 KiB names the metadata region, whose table names the virtual disk's size."""
    region_guid = uuid.UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E").bytes_le
    size_guid = uuid.UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8").bytes_le
    image = bytearray(max(metadata, 0x40000) + item + 0x20000) if metadata <= 0x400000 else bytearray(0x60000)
    image[:8] = b"vhdxfile"
    struct.pack_into("<IIII", image, 0x30000, 0x69676572, 0, entries, 0)
    if entries == 1:
        struct.pack_into("<16sQII", image, 0x30010, region_guid, metadata, 0x100000, 1)
    if metadata + 64 <= len(image):
        struct.pack_into("<8sHH", image, metadata, signature, 0, items)
        if items == 1:
            struct.pack_into("<16sIII", image, metadata + 32, size_guid, item, 8, 0)
        if metadata + item + 8 <= len(image):
            struct.pack_into("<Q", image, metadata + item, size)
    return bytes(image)


def vdi(size: int = 1 << 30) -> bytes:
    image = bytearray(SECTOR)
    struct.pack_into("<I", image, 0x40, 0xBEDA107F)
    struct.pack_into("<Q", image, 0x170, size)
    return bytes(image) + BODY


def iso(blocks: int = 500, first: bytes = b"") -> bytes:
    """ECMA-119: the primary volume descriptor is at 32 KiB."""
    volume = bytearray(2048)
    volume[:7] = b"\x01CD001\x01"
    struct.pack_into("<L", volume, 80, blocks)
    struct.pack_into("<H", volume, 128, 2048)
    return first.ljust(32 << 10, b"\0") + bytes(volume) + BODY


def partition(kind: int = 0xEE, boot: int = 0, start: tuple[int, int, int] = (0, 2, 0), lba: int = 1) -> bytes:
    return struct.pack("<B3BB3BII", boot, *start, kind, 0xFF, 0xFF, 0xFF, lba, 2048)


def mbr(*partitions: bytes, code: bytes = b"\xeb\x3c\x90") -> bytes:
    """The first sector of a disk; UEFI 2.10, 5.2."""
    return code.ljust(446, b"\0") + b"".join(partitions).ljust(64, b"\0") + b"\x55\xaa"


def disk(*partitions: bytes) -> bytes:
    return mbr(*partitions) + BODY


def fat() -> bytes:
    """A boot sector with a BIOS parameter block, which only resembles a disk's."""
    sector = bytearray(mbr())
    sector[0x10], sector[0x15] = 2, 0xF8
    return bytes(sector) + BODY


def luks(version: int = 1, payload: int = 8) -> bytes:
    names = [name.ljust(32, b"\0") for name in (b"aes", b"xts-plain64", b"sha256")]
    head = struct.pack(">6sH32s32s32sII20s32sI", b"LUKS\xba\xbe", version, *names, payload, 32, bytes(20), bytes(32), 1000)
    return head.ljust(4096, b"\0") + BODY


SAMPLES: dict[str, Callable[[], bytes]] = {
    "raw": lambda: BODY,
    "raw, one byte": lambda: b"\x81",
    "raw, 63 bytes": lambda: BODY[:63],
    "raw, zeros": lambda: bytes(300_000),
    "raw, text": lambda: b"just some text\n" * 9000,
    "raw, text and then bytes": lambda: b"just some text\n" * 100 + BODY,
    "raw, ploop": lambda: b"WithouFreSpacExt" + BODY,
    "qcow2": qcow2,
    "qcow2 v2": lambda: qcow2(2),
    "qcow2 v1": lambda: qcow2(1),
    "qcow2 v9": lambda: qcow2(9),
    "qcow2, backing file": lambda: qcow2(backing=0x200),
    "qcow2 v2, backing file": lambda: qcow2(2, backing=0x200),
    "qcow2, backing file at the end of the world": lambda: qcow2(backing=(1 << 64) - 1),
    "qcow2, data file": lambda: qcow2(incompatible=1 << 2),
    "qcow2, dirty": lambda: qcow2(incompatible=1),
    "qcow2, extended L2": lambda: qcow2(incompatible=1 << 4),
    "qcow2, unknown feature": lambda: qcow2(incompatible=1 << 40),
    "qcow2, every feature": lambda: qcow2(incompatible=(1 << 64) - 1),
    "qcow2, absurd size": lambda: qcow2(size=(1 << 64) - 1),
    "qcow2, cut in its header": lambda: qcow2()[:72],
    "qcow2, header only": lambda: qcow2(body=b""),
    "qcow2 with a partition table in it": lambda: qcow2()[:446] + mbr(partition())[446:] + BODY,
    "qed": lambda: b"QED\0".ljust(SECTOR, b"\0") + BODY,
    "vmdk": vmdk,
    "vmdk, streamOptimized": lambda: vmdk(descriptor("streamOptimized")),
    "vmdk, capitals": lambda: vmdk(descriptor("MONOLITHICSPARSE")),
    "vmdk, monolithicFlat": lambda: vmdk(descriptor("monolithicFlat", 'RW 2048 FLAT "/etc/shadow" 0')),
    "vmdk, extent by a path": lambda: vmdk(descriptor(extents='RW 2048 SPARSE "/dev/sda"')),
    "vmdk, no extent": lambda: vmdk(descriptor(extents="")),
    "vmdk, unknown line": lambda: vmdk(descriptor(more="include /etc/passwd")),
    "vmdk, binary descriptor": lambda: vmdk(b"\xff" * 512),
    "vmdk, endless line": lambda: vmdk(descriptor(more="x" * 9000)),
    "vmdk, no type": lambda: vmdk(descriptor().replace(b"createType", b"whatever")),
    "vmdk, endless type": lambda: vmdk(descriptor("x" * 5000)),
    "vmdk, version 9": lambda: vmdk(version=9),
    "vmdk, descriptor elsewhere": lambda: vmdk(at=9),
    "vmdk, descriptor of no length": lambda: vmdk(length=0),
    "vmdk, descriptor without end": lambda: vmdk(length=1 << 40),
    "vmdk, absurd size": lambda: vmdk(sectors=1 << 62),
    "vmdk, cut in its header": lambda: vmdk()[:50],
    "vmdk, cut in its descriptor": lambda: vmdk()[:2000],
    "vmdk, footer": vmdk_with_footer,
    "vmdk, footer with another descriptor": lambda: vmdk_with_footer(same=False),
    "vmdk, footer with a bad marker": lambda: vmdk_with_footer(marker=7),
    "vmdk, footer announced and missing": lambda: vmdk(descriptor("streamOptimized"), directory=FOOTER_BELOW),
    "vmdk, descriptor file": lambda: descriptor("monolithicFlat", 'RW 2048 FLAT "/etc/shadow" 0'),
    "vmdk, descriptor file, long": lambda: descriptor("monolithicFlat", 'RW 2048 FLAT "/etc/shadow" 0', "# pad\n" * 200),
    "vmdk, descriptor file with bytes behind": lambda: (
        descriptor("monolithicFlat", 'RW 2048 FLAT "/etc/shadow" 0', "# pad\n" * 200) + b"\xff" * 4096
    ),
    "vmdk, descriptor file of a harmless type": lambda: descriptor(more="# pad\n" * 200),
    "vhd": vhd,
    "vhd, cut": lambda: vhd()[:20],
    "vhd, absurd size": lambda: vhd((1 << 64) - 1),
    "vhdx": vhdx,
    "vhdx, metadata in the region table": lambda: vhdx(metadata=0x30000),
    "vhdx, metadata beyond the end": lambda: vhdx(metadata=1 << 62),
    "vhdx, metadata at the start": lambda: vhdx(metadata=0),
    "vhdx, no metadata": lambda: vhdx(entries=2),
    "vhdx, too many regions": lambda: vhdx(entries=4000),
    "vhdx, as many regions as may be": lambda: vhdx(entries=2047),
    "vhdx, items without end": lambda: vhdx(items=60000),
    "vhdx, as many items as may be": lambda: vhdx(items=2047),
    "vhdx, bad signature": lambda: vhdx(signature=b"METADATA"),
    "vhdx, size of no length": lambda: vhdx(item=0x300000)[:0x210000],
    "vhdx, absurd size": lambda: vhdx(size=(1 << 64) - 1),
    "vhdx, cut": lambda: vhdx()[:100_000],
    "vdi": vdi,
    "vdi, absurd size": lambda: vdi((1 << 64) - 1),
    "vdi, cut": lambda: vdi()[:300],
    "iso": iso,
    "iso, bootable as a disk": lambda: iso(first=mbr(partition())),
    "iso, bootable as a disk with a bad table": lambda: iso(first=mbr(partition(), partition(7))),
    "iso in a qcow2": lambda: iso(first=qcow2(body=b"")),
    "iso in a vmdk": lambda: iso(first=vmdk()[:20_000]),
    "iso, cut": lambda: iso()[:33_000],
    "disk": lambda: disk(partition()),
    "disk of before gpt": lambda: disk(partition(0x83, 0x80, (1, 1, 0), 2048)),
    "disk, no partition": disk,
    "disk, bad boot flag": lambda: disk(partition(boot=0x55)),
    "disk, bad start": lambda: disk(partition(start=(1, 2, 3))),
    "disk, bad lba": lambda: disk(partition(lba=34)),
    "disk, hybrid": lambda: disk(partition(), partition(0x83, lba=2048)),
    "fat": fat,
    "luks": luks,
    "luks v2": lambda: luks(2),
    "luks, cut": lambda: luks()[:100],
    "luks, payload beyond the end": lambda: luks(payload=(1 << 32) - 1),
}
