"""New locations of modules and names, for a clear error when a plug-in imports them from their old locations."""

import ast
import importlib.util

MOVED = {
    "benchmark.asking": "benchmark.suites.prompts",
    "benchmark.calibration": "benchmark.models.throughput",
    "benchmark.campaign": "benchmark.experiments.campaign",
    "benchmark.checkpoint_forms": "benchmark.models.external_checkpoint",
    "benchmark.checkpoints": "benchmark.store.checkpoints",
    "benchmark.columns": "benchmark.tables.columns",
    "benchmark.columns.DESTINATION": "benchmark.api.suite.DESTINATION",
    "benchmark.compare": "benchmark.tables.compare",
    "benchmark.compare_render": "benchmark.tables.render_compare",
    "benchmark.consent": "benchmark.cost.confirm",
    "benchmark.cost.testbed_facts.Ground": "benchmark.cost.testbed_facts.TestbedFacts",
    "benchmark.cost.testbed_facts.ground": "benchmark.cost.testbed_facts.read_facts",
    "benchmark.curves": "benchmark.records.loss_curve",
    "benchmark.doctor.cuda_of_torch": "benchmark.hardware.cuda_of_torch",
    "benchmark.doctor.gpus": "benchmark.hardware.gpus",
    "benchmark.durable": "benchmark.store.durable",
    "benchmark.estimate.count": "benchmark.cost.count_flops",
    "benchmark.estimate.devices": "benchmark.cost.devices",
    "benchmark.estimate.devices.CORE": "benchmark.hardware.CORE",
    "benchmark.estimate.devices.Device": "benchmark.hardware.Device",
    "benchmark.estimate.devices.cpu": "benchmark.hardware.cpu",
    "benchmark.estimate.estimate": "benchmark.cost.estimate",
    "benchmark.estimate.ground": "benchmark.cost.testbed_facts",
    "benchmark.estimate.sizes": "benchmark.cost.network_costs",
    "benchmark.estimate.work": "benchmark.cost.workload",
    "benchmark.evaluate": "benchmark.pipeline.run",
    "benchmark.evaluate.brought": "benchmark.models.external_model.ExternalCheckpoint",
    "benchmark.evaluate.check_name": "benchmark.models.checkpoint_names.check_name",
    "benchmark.explicit_suites": "benchmark.suites.explicit",
    "benchmark.explicit_tables": "benchmark.tables.table2_3_explicit",
    "benchmark.fitting": "benchmark.models.fit",
    "benchmark.footprint": "benchmark.experiments.footprint",
    "benchmark.generate": "benchmark.generation.images",
    "benchmark.generation.images.deal": "benchmark.generation.images.sample_missing",
    "benchmark.generation.shards.of_one_colour": "benchmark.generation.shards.is_single_colour",
    "benchmark.generation.shards.one_colour": "benchmark.generation.shards.count_single_colour",
    "benchmark.least": "benchmark.models.minimum_budget",
    "benchmark.listing": "benchmark.cli.list_plugins",
    "benchmark.listing.artists_of": "benchmark.testbeds.resolve.artists_of",
    "benchmark.listing.default_targets": "benchmark.testbeds.resolve.default_targets",
    "benchmark.look": "benchmark.generation.features",
    "benchmark.measure": "benchmark.pipeline.evaluation",
    "benchmark.models": "benchmark.api.model",
    "benchmark.models.FAR": "benchmark.models.pruned.FAR",
    "benchmark.models.MACS_TOLERANCE": "benchmark.models.pruned.MACS_TOLERANCE",
    "benchmark.models.Plan": "benchmark.models.plan.Plan",
    "benchmark.models.Pruned": "benchmark.models.pruned.Pruned",
    "benchmark.models.base": "benchmark.models.fitted.Base",
    "benchmark.models.first_stage": "benchmark.models.plan.first_stage",
    "benchmark.models.fitted.Brought": "benchmark.models.external_model.ExternalCheckpoint",
    "benchmark.models.fitted.LONGEST_NAME": "benchmark.models.checkpoint_names.LONGEST_NAME",
    "benchmark.models.fitted.base": "benchmark.models.fitted.Base",
    "benchmark.models.fitted.brought": "benchmark.models.external_model.ExternalCheckpoint",
    "benchmark.models.fitted.check_name": "benchmark.models.checkpoint_names.check_name",
    "benchmark.models.fitted.check_name_is_free": "benchmark.models.checkpoint_names.check_name_is_free",
    "benchmark.models.fitted.fitted": "benchmark.models.fitted.Fitted",
    "benchmark.models.identity": "benchmark.models.plan.identity",
    "benchmark.models.plan.UNSAID": "benchmark.models.plan.FIRST_DATA_VERSION",
    "benchmark.models.prunings.HANDED": "benchmark.models.prunings.OPTIONAL_PARAMETERS",
    "benchmark.models.prunings.TAKES": "benchmark.models.prunings.REQUIRED_PARAMETERS",
    "benchmark.over_seeds": "benchmark.tables.over_seeds",
    "benchmark.paths": "benchmark.store.paths",
    "benchmark.pipeline.setup.MEETING": "benchmark.pipeline.setup.RENDEZVOUS_VARIABLES",
    "benchmark.pipeline.setup.PATIENCE": "benchmark.pipeline.setup.PROCESS_GROUP_TIMEOUT",
    "benchmark.prompt_files": "benchmark.suites.prompt_lists",
    "benchmark.provenance": "benchmark.records.provenance",
    "benchmark.pruners": "benchmark.models.prunings",
    "benchmark.pruners.TEXT_TOWER": "benchmark.api.testbed.TEXT_TOWER",
    "benchmark.receipts": "benchmark.pipeline.run_cache",
    "benchmark.records": "benchmark.records.record",
    "benchmark.registry.find_source": "benchmark.plugin_source.classes.find_source",
    "benchmark.rehearse": "benchmark.cost.rehearse",
    "benchmark.rehearse.SIDE": "benchmark.cost.timing.SIDE",
    "benchmark.rehearse.matmul_rate": "benchmark.cost.timing.matmul_rate",
    "benchmark.report.contact_sheet": "benchmark.contact_sheet",
    "benchmark.report.figure7": "benchmark.figures.explicit",
    "benchmark.report.gallery": "benchmark.generation.gallery",
    "benchmark.report.losses": "benchmark.figures.losses",
    "benchmark.report.routing": "benchmark.figures.aptp_routing",
    "benchmark.report.run_sheet": "benchmark.generation.run_sheet",
    "benchmark.report.study": "benchmark.experiments.study_figure",
    "benchmark.report.study_table": "benchmark.experiments.study_table",
    "benchmark.report.tradeoff": "benchmark.figures.tradeoff",
    "benchmark.request": "benchmark.api.request",
    "benchmark.run": "benchmark.pipeline.run",
    "benchmark.run.REFERENCE_SEED": "benchmark.records.record.REFERENCE_SEED",
    "benchmark.run.plan_of": "benchmark.models.plan.plan_of",
    "benchmark.run.planned": "benchmark.models.plan.planned",
    "benchmark.run.workbench_for": "benchmark.pipeline.setup.workbench_for",
    "benchmark.run.workbench_on": "benchmark.pipeline.setup.workbench_on",
    "benchmark.sealed": "benchmark.store.manifest",
    "benchmark.shards": "benchmark.generation.shards",
    "benchmark.side_by_side": "benchmark.parallel",
    "benchmark.speed": "benchmark.cost.speed",
    "benchmark.stages": "benchmark.cost.stages",
    "benchmark.store": "benchmark.store.artefacts",
    "benchmark.studies": "benchmark.experiments.studies",
    "benchmark.suites": "benchmark.api.suite",
    "benchmark.suites.Artists": "benchmark.suites.artists.Artists",
    "benchmark.suites.Coco": "benchmark.suites.coco.Coco",
    "benchmark.suites.prompts.asked": "benchmark.suites.prompts.suite_prompts",
    "benchmark.suites.prompts.kept": "benchmark.suites.prompts.added_lists",
    "benchmark.suites.prompts.told": "benchmark.suites.prompts.list_facts",
    "benchmark.tables": "benchmark.tables.table1_styles",
    "benchmark.tables.ALL_PRUNINGS": "benchmark.tables.select.ALL_PRUNINGS",
    "benchmark.tables.BESIDE": "benchmark.tables.columns.beside",
    "benchmark.tables.Figure": "benchmark.tables.table.Figure",
    "benchmark.tables.Found": "benchmark.tables.select.Found",
    "benchmark.tables.RESULTS": "benchmark.tables.select.RESULTS",
    "benchmark.tables.Row": "benchmark.tables.table.Row",
    "benchmark.tables.Source": "benchmark.tables.select.Source",
    "benchmark.tables.Table": "benchmark.tables.table.Table",
    "benchmark.tables.current": "benchmark.tables.select.current",
    "benchmark.tables.gather": "benchmark.tables.select.gather",
    "benchmark.tables.is_usual": "benchmark.tables.select.is_usual",
    "benchmark.tables.joined": "benchmark.tables.select.joined",
    "benchmark.tables.only": "benchmark.tables.table.only",
    "benchmark.tables.place": "benchmark.tables.select.row_order",
    "benchmark.tables.published": "benchmark.tables.published_values.published",
    "benchmark.tables.quotes": "benchmark.tables.published_values.quotes",
    "benchmark.tables.select.of_definition": "benchmark.tables.select.select_by_sampling",
    "benchmark.tables.select.one_colour": "benchmark.tables.select.note_single_colour",
    "benchmark.tables.targets_of": "benchmark.tables.select.targets_of",
    "benchmark.tables.training": "benchmark.tables.select.training",
    "benchmark.tables_render": "benchmark.tables.render",
    "benchmark.testbeds.base": "benchmark.api.testbed",
    "benchmark.testbeds.captioned": "benchmark.testbeds.captioned_latents",
    "benchmark.testbeds.choice": "benchmark.testbeds.resolve",
    "benchmark.testbeds.mini.attack.make": "benchmark.experiments.attack_mini",
    "benchmark.testbeds.mini.brought": "benchmark.testbeds.mini.user_concept",
    "benchmark.testbeds.mini.judges": "benchmark.testbeds.mini.scoring_networks",
    "benchmark.testbeds.mini.prebuild": "benchmark.experiments.prebuild_mini",
    "benchmark.testbeds.stable_diffusion.judges": "benchmark.testbeds.stable_diffusion.scoring_networks",
    "benchmark.workbench": "benchmark.api.testbed",
    "benchmark.workbench.usable": "benchmark.hardware.usable",
    "methods.accumulation": "methods.training.accumulation",
    "methods.barrier": "methods.bilevel.dynamic_barrier",
    "methods.bilevel": "methods.bilevel.method",
    "methods.bilevel.AUTHORS": "methods.bilevel.config.AUTHORS",
    "methods.bilevel.BilevelConfig": "methods.bilevel.config.BilevelConfig",
    "methods.bilevel.check_objective": "methods.bilevel.config.check_objective",
    "methods.bilevel.objectives.UpperObjective": "methods.objective.UpperObjective",
    "methods.bilevel.sees_lower": "methods.bilevel.config.sees_lower",
    "methods.conceptprune.falling": "methods.conceptprune.pruning_mask",
    "methods.costs.choosing": "methods.costs.pruning_flops",
    "methods.costs.looking": "methods.costs.conceptprune_cost",
    "methods.draws": "methods.training.batches",
    "methods.draws.Draw": "methods.training.batches.Batch",
    "methods.draws.Start": "methods.training.batches.NoiseBatch",
    "methods.draws.Starts": "methods.training.batches.NoiseStream",
    "methods.draws.Stream": "methods.training.batches.BatchStream",
    "methods.fields": "methods.config_fields",
    "methods.objectives": "methods.training.losses",
    "methods.objectives.retention": "methods.training.losses.distillation_loss",
    "methods.objectives.turning_away": "methods.training.losses.negative_guidance_loss",
    "methods.pieces": "methods.training.adaptive_batch",
    "methods.pieces.Pieces": "methods.training.adaptive_batch.AdaptiveBatch",
    "methods.precision": "methods.training.precision",
    "methods.pruning.vector.STAYS": "methods.pruning.vector.KEEP_THRESHOLD",
    "methods.spending": "methods.costs",
    "methods.spending.LOOKS": "methods.costs.CALIBRATION_IMAGES",
    "methods.training": "methods.training.loop",
    "methods.training.loop.Account": "methods.training.loop.PhaseTotals",
    "methods.training.losses.Figures": "methods.training.losses.LossValues",
    "methods.upper": "methods.bilevel.upper_level",
    "methods.upper_objectives": "methods.bilevel.objectives",
    "methods.views": "methods.training.noising",
}
"""Old dotted name -> new dotted name, for modules, and for single names if their module was split."""


FUNCTIONS = {"benchmark.run", "benchmark.evaluate", "benchmark.load_records"}
"""Functions of the Python interface whose names are also names of former modules."""


def moved_imports(source: str) -> dict[str, str]:
    """Return imports in Python source that no longer work, as old dotted name -> new dotted name.

    Imports inside `try` are ignored, because such code may support both the old and the new layout.
    """
    nodes: list[ast.AST] = [ast.parse(source)]
    changes: dict[str, str] = {}
    while nodes:
        node = nodes.pop()
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            full_names = (f"{node.module}.{alias.name}" for alias in node.names)
            names = [name for name in full_names if name not in FUNCTIONS]
        elif not isinstance(node, ast.Try):
            nodes += ast.iter_child_nodes(node)
        for name in names:
            changes |= _find_change(name)
    return dict(sorted(changes.items()))


def _find_change(name: str) -> dict[str, str]:
    """Return the entry for one imported name; empty if the name has not moved."""
    module, _, last = name.rpartition(".")
    if not (name in MOVED or module in MOVED) or _is_module(name):
        return {}
    if name in MOVED:
        return {name: MOVED[name]}
    if _is_module(module):  # the module is now a package, and only its content has moved
        return {name: f"{MOVED[module]}.{last}"}
    return {module: MOVED[module]}


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
