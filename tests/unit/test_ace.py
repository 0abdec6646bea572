"""Cost and size of PokeBNN at 224 x 224 and 1000 classes, against the authors' own counting code."""

import pytest
import torch

from edgeq._errors import UsageError
from edgeq.models.pokebnn import PokeBNNConfig, ace, build

AUTHORS = [  # width, ACE, parameters, weights of 1, 4 and 8 bits, other parameters, 1-bit MACs
    (0.125, 498_990_720, 666_346, 323_520, 57_320, 258_112, 27_394, 57_802_752),
    (0.25, 688_296_448, 2_087_988, 1_293_056, 227_616, 514_112, 53_204, 227_999_744),
    (0.5, 1_409_538_048, 7_209_784, 5_170_176, 908_672, 1_026_112, 104_824, 905_576_448),
    (0.75, 2_587_619_840, 15_369_596, 11_631_360, 2_043_680, 1_538_112, 156_444, 2_032_730_112),
    (1.0, 4_222_541_824, 26_567_424, 20_676_608, 3_632_640, 2_050_112, 208_064, 3_609_460_736),
    (1.25, 6_314_304_000, 40_803_268, 32_305_920, 5_675_552, 2_562_112, 259_684, 5_635_768_320),
    (1.5, 8_862_906_368, 58_077_128, 46_519_296, 8_172_416, 3_074_112, 311_304, 8_111_652_864),
    (1.75, 11_868_348_928, 78_389_004, 63_316_736, 11_123_232, 3_586_112, 362_924, 11_037_114_368),
    (2.0, 15_330_631_680, 101_738_896, 82_698_240, 14_528_000, 4_098_112, 414_544, 14_412_152_832),
]


@pytest.mark.parametrize("row", AUTHORS, ids=lambda row: f"{row[0]}x")
def test_every_width_counts_as_the_authors_do(row):
    width, total, parameters, one, four, eight, other, macs = row
    cost = ace(PokeBNNConfig(width, 1000), 224, 224)
    assert (cost.ace, cost.parameters, cost.other_parameters) == (total, parameters, other)
    assert cost.weights_by_bits == {1: one, 4: four, 8: eight}
    assert cost.macs_by_bits[1] == macs and cost.macs_by_bits[4] == four


def test_the_unit_width_splits_as_the_authors_assert():
    cost = ace(PokeBNNConfig(1.0, 1000), 224, 224)
    assert (cost.conv_ace, cost.dense_ace) == (4_091_469_824, 131_072_000)
    assert cost.macs_by_bits[8] == 8_671_232
    assert cost.packed_bytes == (20_676_608 + 4 * 3_632_640 + 8 * 2_050_112) // 8


def test_a_shallow_variant_counts_what_is_built():
    config = PokeBNNConfig(0.25, 10, in_channels=1, blocks=(1, 1, 1, 1))
    cost = ace(config, 28, 28)
    torch.manual_seed(0)
    assert cost.parameters == sum(p.numel() for p in build(config).parameters()) == 382_598
    assert cost.packed_bytes == 64_976


def test_a_picture_smaller_than_the_stem_is_refused():
    with pytest.raises(UsageError, match="3 x 28 is smaller than the stem kernel 4"):
        ace(PokeBNNConfig(0.25, 10), 3, 28)
