"""bzip2 streams, one or many end to end, as `bzip2 -d` reads them; what follows the last one is refused, not ignored."""

from __future__ import annotations

import bz2

from glance_stream.decode.framed import Frame, FramedDecoder


class Bz2Decoder(FramedDecoder):
    """Memory: one block, about 4 MB at level 9. Every block and stream carries a CRC-32."""

    format = "bz2"
    errors = (OSError, ValueError)

    def _open_frame(self) -> Frame:
        return bz2.BZ2Decompressor()
