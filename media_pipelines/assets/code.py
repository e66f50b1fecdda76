"""Where the code of an asset is, for the Dagster UI: in the files here, or where the repository is read."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import dagster as dg
from dagster._utils.warnings import BetaWarning

_ROOT = Path(__file__).parents[2]
_KEY = "dagster/code_references"

Asset = dg.AssetsDefinition | dg.AssetSpec


def with_code(assets: Iterable[Asset], address: str) -> Sequence[Asset]:
    """`address`: of a folder of the repository as a browser shows it; empty: files of this machine."""
    with warnings.catch_warnings():
        # Dagster calls these references beta, each time that they are made.
        warnings.simplefilter("ignore", BetaWarning)
        local = [_with_local(asset) for asset in assets]
        return [_with_address(asset, address) for asset in local] if address else local


def _with_local(asset: Asset) -> Asset:
    if isinstance(asset, dg.AssetsDefinition):
        (referred,) = dg.with_source_code_references([asset])
        assert isinstance(referred, dg.AssetsDefinition)
        return referred
    module = Path(__file__).with_name(f"{asset.group_name}.py")  # of a spec Dagster does not know the place
    return _referring(asset, dg.LocalFileCodeReference(file_path=str(module)))


def _with_address(asset: Asset, address: str) -> Asset:
    if isinstance(asset, dg.AssetsDefinition):
        return asset.map_asset_specs(lambda spec: _linked(spec, address))
    return _linked(asset, address)


def _linked(spec: dg.AssetSpec, address: str) -> dg.AssetSpec:
    (local,) = spec.metadata[_KEY].code_references
    path = Path(local.file_path).relative_to(_ROOT)
    line = f"#L{local.line_number}" if local.line_number else ""
    return _referring(spec, dg.UrlCodeReference(url=f"{address}/{path}{line}", label=str(path)))


def _referring(spec: dg.AssetSpec, place: dg.LocalFileCodeReference | dg.UrlCodeReference) -> dg.AssetSpec:
    return spec.merge_attributes(metadata={_KEY: dg.CodeReferencesMetadataValue(code_references=[place])})
