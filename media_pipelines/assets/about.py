"""What Dagster knows of an asset beside how it is made: one function puts it together, from what differs."""

from collections.abc import Callable, Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any

import dagster as dg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge.vocabulary import NEEDS, JobType
from media_pipelines.ops.videos import COMPILATION_PARTITIONS, VIDEO_PARTITIONS
from media_pipelines.tags import CATEGORY_TAG, TYPE_TAG

# Who answers for them: whoever runs the library.
OWNERS = ("team:library",)
STORAGE_TAG = "media/storage"

# An asset of one video lies in the video's partition. Nothing is loaded from there: the op reads file and row.
OF_THE_VIDEO: Mapping[str, Any] = MappingProxyType(
    {
        "ins": {"library_video": dg.AssetIn("library_video", dagster_type=dg.Nothing)},
        "partitions_def": VIDEO_PARTITIONS,
    }
)
# A compilation has a partition of its own. Which videos it is made of is chosen when the job runs.
OF_VIDEOS: Mapping[str, Any] = MappingProxyType(
    {
        "ins": {
            "library_video": dg.AssetIn(
                "library_video", dagster_type=dg.Nothing, partition_mapping=dg.AllPartitionMapping()
            )
        },
        "partitions_def": COMPILATION_PARTITIONS,
    }
)


def about(
    group: str,
    what: str,
    *,
    made_by: Sequence[JobType],
    lies: str,
    otherwise: str,
    kinds: Set[str],
    table: sa.Table | None = None,
) -> dict[str, Any]:
    """Arguments that every kind of asset takes. `what` it is, where it `lies`, what to do `otherwise`: sentences for an
    operator, in Markdown. `made_by`: the job types, whose first one the tags name. `table`: whose rows it is."""
    types = " and ".join(f"`{kind}`" for kind in made_by)
    told = f"{what}\n\n**Made by** {types} jobs.\n\n**Lies** {lies}\n\n**Missing or failed?** {otherwise}"
    return {
        "group_name": group,
        "description": told,
        "owners": [*OWNERS],
        "kinds": {*kinds},
        "tags": {
            TYPE_TAG: made_by[0].value,
            CATEGORY_TAG: NEEDS[made_by[0]].category.value,
            STORAGE_TAG: "files" if "file" in kinds else "postgres",
        },
        "metadata": {} if table is None else of_table(table),
    }


def product(
    group: str,
    what: str,
    *,
    of: Mapping[str, Any] = MappingProxyType({}),
    made_by: Sequence[JobType],
    lies: str,
    otherwise: str,
    kinds: Set[str],
    table: sa.Table | None = None,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Decorates the function that composes an asset of ops. `of`: OF_THE_VIDEO, OF_VIDEOS, or nothing that Dagster
    knows."""
    told = about(group, what, made_by=made_by, lies=lies, otherwise=otherwise, kinds=kinds, table=table)
    made: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.graph_asset(**of, **told)
    return made


def of_table(table: sa.Table) -> dict[str, Any]:
    """Its name and its columns, as the table's own comments describe them."""
    return {
        "dagster/table_name": f"public.{table.name}",
        "dagster/column_schema": dg.TableSchema(columns=[_column(column) for column in table.columns]),
    }


def _column(column: sa.Column[Any]) -> dg.TableColumn:
    return dg.TableColumn(
        column.name,
        str(column.type.compile(dialect=pg.dialect())).lower(),  # type: ignore[no-untyped-call]
        description=column.comment,
        constraints=dg.TableColumnConstraints(
            nullable=bool(column.nullable),
            unique=bool(column.unique or _identifies(column)),
        ),
    )


def _identifies(column: sa.Column[Any]) -> bool:
    return column.primary_key and len(column.table.primary_key) == 1
