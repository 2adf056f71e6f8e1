"""The suite compiled to Great Expectations 1.24 and judged there: the one module that imports it.

GX's own report loads its styles from the network, so only its verdicts are used; `report.py` draws the page.
An exception inside GX counts as a failure of this project's adapter, never as a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.errors import QualityError
from components.quality.suite import MAX_ROWS, Expectation, Outcome

if TYPE_CHECKING:
    import pandas as pd


class GreatJudge:
    """A compiled suite; `judge` may be called shard by shard."""

    def __init__(self, expectations: Sequence[Expectation], *, key: str) -> None:
        import great_expectations as gx

        self.expectations, self.key = tuple(expectations), key
        context = gx.get_context(mode="ephemeral")
        quiet: Any = context.variables
        quiet.progress_bars = {"globally": False, "metric_calculations": False}
        asset = context.data_sources.add_pandas("frames").add_dataframe_asset("shard")
        suite = gx.ExpectationSuite(name="suite", expectations=[_compile(e) for e in self.expectations])
        self.validation = context.validation_definitions.add(
            gx.ValidationDefinition(
                name="gate",
                data=asset.add_batch_definition_whole_dataframe("whole"),
                suite=context.suites.add(suite),
            )
        )

    def judge(self, frame: pd.DataFrame) -> list[Outcome]:
        """Return one outcome an expectation, in the suite's order.

        Raises:
            QualityError: Great Expectations could not evaluate a rule.
        """
        result = self.validation.run(
            batch_parameters={"dataframe": frame.reset_index(drop=True)},
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [self.key]},
        )
        found: dict[str, Any] = {}
        for row in result.results:
            config: Any = row.expectation_config
            found[config.meta["name"]] = row
        return [self._outcome(expectation, found[expectation.name]) for expectation in self.expectations]

    def _outcome(self, expectation: Expectation, row: Any) -> Outcome:
        if "element_count" not in row.result:
            raise QualityError(f"Great Expectations could not judge {expectation.name}: {row.exception_info}")
        listed = (row.result.get("unexpected_index_list") or [])[:MAX_ROWS]
        rows = tuple(_failing_row(found, expectation, self.key) for found in listed)
        return Outcome(expectation.name, row.result["element_count"], row.result["unexpected_count"], rows)


def _failing_row(found: dict[str, Any], expectation: Expectation, key: str) -> dict[str, str]:
    observed = ", ".join(f"{column}={found[column]}" for column in expectation.columns)
    return {key: str(found[key]), "observed": observed}


def _compile(expectation: Expectation) -> Any:
    from great_expectations import expectations as gxe

    meta, column = {"name": expectation.name}, expectation.columns[0]
    if expectation.rule == "filled":
        return gxe.ExpectColumnValuesToMatchRegex(column=column, regex=r"\S", meta=meta)
    if expectation.rule == "in_set":
        return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(expectation.values), meta=meta)
    if expectation.rule == "equal_columns":
        return gxe.ExpectColumnPairValuesToBeEqual(column_A=column, column_B=expectation.columns[1], meta=meta)
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=expectation.low, max_value=expectation.high, meta=meta
    )
