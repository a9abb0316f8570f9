"""The interface for plug-ins: base classes of methods, suites, metrics and testbeds, and the types that they use.

Importing this package does not import torch. A pruning is a plain function, see `benchmark/models/prunings.py`.
docs/plugins.md has examples.
"""

from benchmark.api.declarations import Column, Use
from benchmark.api.metric import Metric
from benchmark.api.model import Model, TrainingFacts
from benchmark.api.request import Outcome, RunRequest, Runtime
from benchmark.api.suite import Evidence, Scores, Suite
from benchmark.api.testbed import PictureFiles, Testbed, Workbench
from methods.base import Checkpointer, Context, Data, Materials, Method, State, configure
from methods.budget import Budget, Cost, Entry, Ledger
from methods.costs import Step, Terms
from methods.objective import UpperObjective
from prompts.concepts import Concept
from prompts.lists import Prompt

__all__ = [
    "Budget",
    "Checkpointer",
    "Column",
    "Concept",
    "Context",
    "Cost",
    "Data",
    "Entry",
    "Evidence",
    "Ledger",
    "Materials",
    "Method",
    "Metric",
    "Model",
    "Outcome",
    "PictureFiles",
    "Prompt",
    "RunRequest",
    "Runtime",
    "Scores",
    "State",
    "Step",
    "Suite",
    "Terms",
    "Testbed",
    "TrainingFacts",
    "UpperObjective",
    "Use",
    "Workbench",
    "configure",
]
