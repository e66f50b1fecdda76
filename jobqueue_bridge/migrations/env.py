"""Alembic's entry. `migrate()` hands over the connection; there is no other way in."""

from alembic import context

from jobqueue_bridge.schema_version import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
