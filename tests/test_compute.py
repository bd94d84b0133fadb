"""How a training is computed: rules for layout and precision."""

import json

import numpy as np
import pytest
import torch

from course_lib import models
from course_lib.compute import PLAIN, Compute
from course_lib.errors import CourseError

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind, capability, dim, expected", [
    ("cuda", (8, 0), 2, ("channels_last", "bfloat16")),
    ("cuda", (7, 5), 2, ("channels_last", "float16")),
    ("cuda", (9, 0), 3, ("contiguous", "bfloat16")),
    ("mps", None, 2, ("contiguous", "float32"))])
def test_on_a_gpu_kind_and_generation_decide(monkeypatch, kind, capability, dim, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    compute = Compute().resolve(models.UNet(1, 1, dim=dim, features=2), torch.device(kind), 400)
    assert (compute.layout, compute.precision, compute.resident) == (*expected, True)


@pytest.mark.parametrize("can, precision", [
    ({"amx_bf16": True, "avx512_bf16": True}, "bfloat16"), ({"avx512_bf16": True}, "bfloat16"),
    ({"amx_bf16": False, "avx512_bf16": False, "avx2": True}, "float32"), ({}, "float32")])
def test_on_a_cpu_the_processor_decides(monkeypatch, can, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can, raising=False)
    for dim, layout in ((2, "channels_last"), (3, "contiguous")):
        compute = Compute().resolve(models.UNet(1, 1, dim=dim, features=2), CPU, 1)
        assert (compute.layout, compute.precision) == (layout, precision)


def test_a_torch_that_does_not_know_the_processor_gets_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert Compute().resolve(models.UNet(1, 1, features=2), CPU, 1).precision == "float32"


def test_data_that_take_half_of_the_free_memory_are_streamed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    model, device = models.UNet(1, 1, features=2), torch.device("cuda")
    assert [Compute().resolve(model, device, size).resident for size in (499, 500)] == [True, False]


def test_what_is_not_auto_is_kept():
    fixed = Compute("contiguous", "float16", False, True)
    assert fixed.resolve(models.UNet(1, 1, features=2), CPU, 1) == fixed


def test_layouts_have_the_names_that_torch_gives_them_in_2d_and_3d():
    flat, solid = (models.UNet(1, 1, dim=dim, features=2) for dim in (2, 3))
    last = Compute("channels_last")
    assert PLAIN.memory_format(flat) == PLAIN.memory_format(solid) == torch.contiguous_format
    assert last.memory_format(flat) == torch.channels_last
    assert last.memory_format(solid) == torch.channels_last_3d


@pytest.mark.parametrize("bad", [{"layout": "nhwc"}, {"layout": []}, {"precision": "float64"},
                                 {"precision": None}, {"precision": torch.bfloat16},
                                 {"layout": np.array(["auto", "auto"])}, {"resident": "yes"},
                                 {"resident": 1}, {"deterministic": "no"}, {"deterministic": 0}])
def test_another_word_is_refused_with_those_that_are_known(bad):
    (name, _), = bad.items()
    with pytest.raises(CourseError, match=f"Compute: {name}=.*Use one of"):
        Compute(**bad)


def test_words_and_bools_of_numpy_become_pythons_which_json_has():
    compute = Compute(np.str_("contiguous"), "float32", np.bool_(False), np.bool_(True))
    assert json.dumps(compute.facts(CPU)) and compute.resident is False is not compute.deterministic


def test_only_mixed_precision_computes_in_less_than_32_bits():
    layer, image = torch.nn.Linear(2, 2), torch.ones(1, 2)
    for compute, dtype in ((PLAIN, torch.float32), (Compute("auto", "bfloat16"), torch.bfloat16)):
        with compute.autocast(CPU):
            assert layer(image).dtype == dtype


def test_facts_are_what_config_json_keeps():
    assert PLAIN.facts(CPU) == {"device": "cpu", "threads": torch.get_num_threads(),
                                "layout": "contiguous", "precision": "float32", "resident": False,
                                "deterministic": False}
