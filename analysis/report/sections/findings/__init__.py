"""The sentences at the top of the page, each computed from the results and made only where they hold it."""

from markupsafe import Markup

from microtome.analysis.report.frames import in_order
from microtome.analysis.report.sections.findings.adaptation import perplexities
from microtome.analysis.report.sections.findings.attention import attention_by_depth
from microtome.analysis.report.sections.findings.gains import share_of_gain
from microtome.analysis.report.sections.findings.layers import best_layer_moves, best_layer_rises
from microtome.analysis.report.sections.findings.leaders import leader
from microtome.analysis.report.sections.findings.single_label import one_label_only
from microtome.analysis.report.sections.results import Results

OVERALL = "Overall"


def key_findings(results: Results) -> dict[str, list[Markup]]:
    """What the numbers say, as sentences by task; what is about no single task comes last, under "Overall".

    A result that is not there has no sentence, and a task without a sentence is left out.
    """
    by_task = {
        task: [
            leader(results, task),
            one_label_only(results, task),
            share_of_gain(results, task),
            best_layer_moves(results, task),
            best_layer_rises(results, task),
            attention_by_depth(results, task),
        ]
        for task in in_order(results.rows["task"])
    }
    by_task[OVERALL] = perplexities(results.adapted)
    non_empty = {
        task: [sentence for sentence in sentences if sentence] for task, sentences in by_task.items()
    }
    return {task: sentences for task, sentences in non_empty.items() if sentences}
