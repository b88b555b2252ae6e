# SPDX-License-Identifier: Apache-2.0
"""The project that an answer is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Project:
    """A SOPS project, bound to a CMDB business."""

    id: int
    bk_biz_id: int
    name: str


def project_fields(project: Project) -> dict[str, Any]:
    """What the rows of lists say of a project."""
    return {
        "project_id": project.id,
        "project_name": project.name,
        "bk_biz_id": project.bk_biz_id,
        "bk_biz_name": project.name,
    }
