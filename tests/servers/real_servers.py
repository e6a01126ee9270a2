"""The real servers as tests see them. Whatever a test asks here, the server's own client answers, not the code under test."""

from real_ceph import CephCluster, RbdPool
from real_databases import DatabaseServer, RealDatabase
from real_s3 import S3Bucket, S3Server
from real_swift import SwiftContainer, SwiftServer
from server_daemons import ServerError, ServerHandle

__all__ = [
    "CephCluster",
    "DatabaseServer",
    "RbdPool",
    "RealDatabase",
    "S3Bucket",
    "S3Server",
    "ServerError",
    "ServerHandle",
    "SwiftContainer",
    "SwiftServer",
]
