"""Keystone under waitress; run by the servers' own Python. usage: serve_keystone.py DIR PORT (DIR marks whose process it is)"""

import sys

import waitress

port = int(sys.argv[2])
sys.argv[1:] = []  # Keystone would take them for its own
from keystone.wsgi.api import application  # noqa: E402

waitress.serve(application, host="127.0.0.1", port=port, threads=4)
