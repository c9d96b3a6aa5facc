"""A configuration with what its backbone decides."""

import shutil
from pathlib import Path
from typing import Any

from study.commands.resolved_config import resolve_config, with_sites_of_backbone
from study.config.loading import build_config
from study.config.search_section import SITES_OF
from tests.commands.conftest import PHOTOS
from tests.siglips import save_siglip


def test_a_peer_that_ones_own_configuration_or_override_asks_for_stays_and_is_refused_later(
    siglip: str, tmp_path: Path
):
    own = tmp_path / "photos.yaml"
    shutil.copy(PHOTOS, own)
    for source, overrides in (
        (own, []),
        (PHOTOS, ["search.baselines.projection={peer: projection}"]),
        (PHOTOS, ["search.baselines.projection.peer=projection"]),
    ):
        config = resolve_config(source, [siglip, *overrides])
        assert "projection" in config.search.baselines


def test_the_default_list_of_sites_is_that_of_the_backbone(tmp_path: Path):
    folder = save_siglip(tmp_path / "siglip")

    def sites(backbone: object, **space: Any) -> tuple[str, ...]:
        values = {"backbone": {"name": str(backbone)}, "search": {"space": space}}
        return with_sites_of_backbone(build_config(values, "mine")).search.space.sites

    assert sites(folder) == SITES_OF["siglip"]
    assert sites(folder, sites=["text.ln1"]) == ("text.ln1",), "a list of one's own stays"
    assert sites("embedded") == SITES_OF["clip"]
    assert sites(tmp_path / "nowhere") == SITES_OF["clip"], "the check tells of that fault"
