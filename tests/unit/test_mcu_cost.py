"""Instructions become time and joules by the table, with their span, and never without a label."""

import pytest

from edgeq._errors import EnergyError
from edgeq.bench.energy import mcu


def test_cost_is_the_middle_of_the_span():
    cost = mcu.cost("cortex-m4", 1_000_000)
    row = mcu.CORES["cortex-m4"]
    low, high = (1e6 * cpi / row.clock_hz for cpi in row.cpi)
    assert cost.seconds - cost.seconds_uncertainty == pytest.approx(low)
    assert cost.seconds + cost.seconds_uncertainty == pytest.approx(high)
    energy = cost.energy
    assert energy.joules - energy.uncertainty == pytest.approx(1e6 * 1.1 * 330e-12)
    assert energy.joules + energy.uncertainty == pytest.approx(1e6 * 1.6 * 430e-12)
    assert energy.n_samples == 0
    assert energy.net_joules is None
    assert "unverified" in energy.source


def test_a_known_clock_replaces_the_example_part():
    slow, fast = mcu.cost("cortex-m3", 1000, clock_hz=8e6), mcu.cost("cortex-m3", 1000, clock_hz=16e6)
    assert slow.seconds == pytest.approx(2 * fast.seconds)
    assert slow.energy.joules == fast.energy.joules


def test_the_bit_manipulation_core_is_an_rv32():
    assert mcu.cost("rv32-zbb", 10).energy.joules == mcu.cost("rv32", 10).energy.joules


def test_unknown_cores_and_the_missing_sensor_are_named():
    with pytest.raises(EnergyError, match='no cost model for core "z80"'):
        mcu.cost("z80", 1)
    with pytest.raises(EnergyError, match="needs a core and a count"):
        mcu.provider()
