"""What the fork server imports before the first run: the definitions, built to the last asset, and what runs need.

Nothing here opens a connection or a file of the platform: forked children would share it.
"""

import dagster._core.execution.plan.execute_step
import dagster._grpc.impl
import dagster_postgres
import psycopg2.extras  # noqa: F401

from media_pipelines.definitions import defs

defs.get_repository_def().get_all_jobs()
