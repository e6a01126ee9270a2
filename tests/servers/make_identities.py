"""What Swift needs in Keystone: its own user, its place in the catalogue, and a project with a user for the tests.

usage: make_identities.py KEYSTONE_URL SWIFT_URL, by the servers' own Python, after `keystone-manage bootstrap`.
"""

import sys

from keystoneauth1 import session
from keystoneauth1.identity import v3
from keystoneclient.v3 import client

keystone_url, swift_url = sys.argv[1:]
names = {"username": "admin", "project_name": "admin", "user_domain_id": "default", "project_domain_id": "default"}
keystone = client.Client(session=session.Session(auth=v3.Password(auth_url=keystone_url, password="admin", **names)))
roles = {role.name: role for role in keystone.roles.list()}

service = keystone.projects.create("service", "default")
swift = keystone.users.create("swift", password="swift-service", default_project=service)
keystone.roles.grant(roles["service"] if "service" in roles else roles["admin"], user=swift, project=service)
keystone.roles.grant(roles["admin"], user=swift, project=service)

test = keystone.projects.create("test", "default")
tester = keystone.users.create("tester", password="testing", default_project=test)
keystone.roles.grant(roles["member"], user=tester, project=test)

store = keystone.services.create("swift", "object-store")
keystone.endpoints.create(store, swift_url, "public", region="RegionOne")
