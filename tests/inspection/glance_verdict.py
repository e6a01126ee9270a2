"""What Glance says of an image: its own lines, over oslo.utils' own wrapper.

glance/location.py `ImageProxy.set_data` of Glance 33, with the store's reading of 64 KiB at a time
(glance_store `_drivers/filesystem.py` WRITE_CHUNKSIZE) in the place of the upload. Exceptions are told apart as Glance does.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from oslo_utils.imageutils import format_inspector

CHUNK = 65536


@dataclass(frozen=True)
class GlanceVerdict:
    """accepted: by Glance. unseen: accepted only because the inspection broke down before its checks. Size 0: not known."""

    accepted: bool
    virtual_size: int = 0
    unseen: bool = False


def glance_verdict(
    image: bytes, disk_format: str, *, require_match: bool = True, gpt_nonfatal: tuple[str, ...] = ()
) -> GlanceVerdict:
    data = format_inspector.InspectWrapper(io.BytesIO(image))
    while data.read(CHUNK):
        pass
    data.close()
    virtual_size = 0
    try:
        matches = data.formats
        matched_formats = {str(i): i for i in matches}
        inspector = matched_formats["iso"] if matched_formats.keys() == {"iso", "gpt"} else data.format
        format = str(inspector)
        if format == disk_format:
            virtual_size = inspector.virtual_size
        elif format == "raw" and disk_format not in format_inspector.ALL_FORMATS:
            pass
        elif disk_format == "raw":
            virtual_size = inspector.actual_size
        else:
            raise format_inspector.ImageFormatError("mismatch")
        inspector.safety_check()
    except AttributeError:
        return GlanceVerdict(True, virtual_size, unseen=True)
    except format_inspector.ImageFormatError:
        return GlanceVerdict(not require_match, virtual_size)
    except format_inspector.SafetyCheckFailed as error:
        fatal = error.failures.keys() - set(gpt_nonfatal)
        return GlanceVerdict(inspector.NAME == "gpt" and not fatal, virtual_size)
    except Exception:
        return GlanceVerdict(not require_match, virtual_size)
    return GlanceVerdict(True, virtual_size)
