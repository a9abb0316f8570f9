"""Imported by the fork server of forked.py before it forks: everything that commands need."""

from forked import import_everything

import_everything()
