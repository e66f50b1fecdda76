"""What the fork server imports before the first run: the definitions, built to the last asset, and what runs need.

Nothing here opens a connection or a file of the platform: forked children would share it.
"""

import gc
import importlib

from media_pipelines.definitions import defs

# What a run of Dagster 1.13 imports on its way, found by comparing sys.modules before and after one.
_ON_THE_WAY = (
    "dagster._core.execution.plan.active",
    "dagster._core.execution.plan.execute_step",
    "dagster._core.executor.in_process",
    "dagster._core.instance.factory",
    "dagster._core.secrets.env_file",
    "dagster._core.storage.noop_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.system_config.composite_descent",
    "dagster._core.utility_ops",
    "dagster._core.workspace.autodiscovery",
    "dagster._grpc.impl",
    "dagster._utils.hosted_user_process",
    "dagster._utils.temp_file",
    "dagster._utils.test.definitions",
    "fsspec.implementations.local",
    "media_pipelines.launcher",
    "media_pipelines.platform.storage",
    "psycopg2.extras",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "upath.implementations.local",
)

# What the ops import where they need it, so that the daemon and the API go without.
_OF_THE_OPS = ("PIL.Image", "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "av", "imageio_ffmpeg", "pebble")

for _name in (*_ON_THE_WAY, *_OF_THE_OPS):
    importlib.import_module(_name)
defs.get_repository_def().get_all_jobs()
# The collector would touch, and so copy, every page that the forked runs share.
gc.collect()
gc.freeze()
