"""Every setting of Penstock: the table, the checks on its values, and what the reference page says of it."""

from penstock.settings.checks import PREFIX, variable_of
from penstock.settings.loading import load_settings
from penstock.settings.reference import SettingDoc, describe
from penstock.settings.table import Settings

__all__ = ["PREFIX", "SettingDoc", "Settings", "describe", "load_settings", "variable_of"]
