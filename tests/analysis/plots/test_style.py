"""Colours stay with what they stand for, and everyone can tell them apart."""

from __future__ import annotations

import sys
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from imprint_sweep.analysis.plots.style import INK, PALETTE, applied, looks

GENS = ("all", "random", "mean", "kmeans", "kmedoids", "cov_max", "fps", "least_squares", "k_least_squares")
MODELS = (
    "resnet18",
    "resnet50",
    "vit_b_16",
    "swin_b",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
)
DATASETS = ("mnist", "fashion_mnist", "cifar10", "combi_digits", "imagenet", "digits", "mnist_m", "svhn", "usps")

KNOWN = {"gen": GENS, "model": (*MODELS, "pixels"), "dataset": DATASETS}

SIGHT = {
    # Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB.
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour: str) -> NDArray[np.float64]:
    """Linear RGB of an sRGB colour."""
    value = np.array(matplotlib.colors.to_rgb(colour))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB (D65) of linear RGB: a distance of about 2 is just seen."""
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = np.array(to_xyz) @ np.clip(rgb, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_are_told_apart_whatever_the_colour_vision(sight: str) -> None:
    seen = [lab(np.array(SIGHT[sight]) @ linear(colour)) for colour, _ in PALETTE]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 14


@pytest.mark.parametrize("kind", KNOWN)
def test_what_the_framework_knows_has_its_own_colour_and_marker(kind: str) -> None:
    found = looks(f"{kind}:{name}" for name in KNOWN[kind])
    assert len({look.colour for look in found.values()}) == len(KNOWN[kind])
    assert len({look.marker for look in found.values()}) == len(KNOWN[kind])


def test_a_known_colour_does_not_depend_on_what_else_is_shown() -> None:
    alone = looks(["gen:kmeans"])["gen:kmeans"]
    assert (alone.colour, alone.marker) == ("#0072B2", "o")  # changing it changes every figure that was ever shown
    assert looks(["gen:kmeans", "gen:zzz", "model:resnet18", "", "aaa"])["gen:kmeans"] == alone


@given(st.sets(st.text(min_size=1, max_size=12), max_size=9), st.randoms())
def test_unknown_names_are_distinct_and_do_not_depend_on_order(names: set[str], rng: object) -> None:
    keys = [f"model:{name}" for name in names]
    found = looks(keys)
    assert len({look.colour for look in found.values()}) == len(keys)
    assert looks(reversed(keys)) == found


def test_an_unknown_name_avoids_the_colours_of_known_ones() -> None:
    known = [f"gen:{gen}" for gen in GENS[:8]]
    for name in ("a", "b", "c", "d", "e"):
        found = looks([*known, name])
        assert len({look.colour for look in found.values()}) == 9


def test_forty_names_still_differ_in_colour_or_marker() -> None:
    found = looks(f"model:net{i}" for i in range(40))
    assert len({(look.colour, look.marker) for look in found.values()}) == 40


def test_an_unknown_name_alone_always_looks_the_same() -> None:
    assert looks(["model:mynet"]) == looks(["model:mynet"])
    assert len({looks([f"model:net{i}"])[f"model:net{i}"].colour for i in range(50)}) == len(PALETTE)


def test_places_on_a_scale_get_darker() -> None:
    found = [looks([f"order:{i}/10"])[f"order:{i}/10"] for i in range(1, 11)]
    lightness = [lab(linear(look.colour))[0] for look in found]
    steps = -np.diff(lightness)
    assert steps.min() > 4  # told apart in grey print as well
    assert {look.marker for look in found} == {""}
    assert len({looks([key])[key].colour for key in ("order:1/1", "order:1/2", "order:2/2")}) == 3


def test_without_a_key_it_is_ink() -> None:
    assert looks([""])[""].colour == INK


def test_nothing_global_changes() -> None:
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 31}):
        with applied():
            assert matplotlib.rcParams["font.size"] == 7.0
            assert matplotlib.rcParams["pdf.fonttype"] == 42
        assert matplotlib.rcParams["font.size"] == 31
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or sys.modules["matplotlib.pyplot"].get_fignums() == []
