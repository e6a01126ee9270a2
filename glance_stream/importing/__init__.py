"""Glance's semantics over a catalogue: import, copy, delete from one store, verify, recover.

What differs from Glance on purpose (docs/architecture.md gives the reasons): a failed operation leaves the image as it was, the two
``os_glance_*`` lists are true after every outcome, and "all stores failed" is a failure also with best effort.
"""

from glance_stream.importing.copy_image import copy_image
from glance_stream.importing.delete import delete_from_store, delete_image
from glance_stream.importing.import_image import ImportRequest, import_image
from glance_stream.importing.outcome import Outcome
from glance_stream.importing.recover import Recovered, recover
from glance_stream.importing.site import Site
from glance_stream.importing.verify import Checked, Verdict, Verification, verify

__all__ = [
    "Checked",
    "ImportRequest",
    "Outcome",
    "Recovered",
    "Site",
    "Verdict",
    "Verification",
    "copy_image",
    "delete_from_store",
    "delete_image",
    "import_image",
    "recover",
    "verify",
]
