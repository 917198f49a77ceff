"""Every variant, in every topology in which it can be made."""

import pytest

from harness.proof.variants.trial import VariantTrial


def test_variant_stays_green(variant_trial: VariantTrial) -> None:
    """Nothing fails, is blocked or is unknown, and no cause is named."""
    if variant_trial.alarms:
        pytest.fail("\n".join(variant_trial.alarms), pytrace=False)
