"""The settings of this process."""

import os

from penstock.settings.table import Settings


def load_settings() -> Settings:
    """The settings that the environment describes.

    Raises:
        SettingUnknown, SettingInvalid: see there.
    """
    return Settings.from_env(os.environ)
