import pytest
import torch
from tiny import Pictures, materials

from benchmark.errors import DataError, UsageError
from methods.training.batches import Batch, BatchStream

CPU = torch.device("cpu")


def stream(**changes: object) -> BatchStream:
    given = {"name": "lower", "seed": 3, "data": Pictures(), "null": materials().null, "batch": 4, "timesteps": 1000}
    return BatchStream(**{**given, **changes})  # type: ignore[arg-type]


def equal(a: Batch, b: Batch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


def test_a_draw_depends_on_seed_stream_and_iteration_alone() -> None:
    torch.manual_seed(0)
    first = stream(dropout=0.5).draw(7, CPU)
    torch.manual_seed(1)
    assert equal(first, stream(dropout=0.5).draw(7, CPU))
    for other in (stream(seed=4, dropout=0.5), stream(name="upper", dropout=0.5)):
        assert not torch.equal(first.noise, other.draw(7, CPU).noise)
    assert not torch.equal(first.noise, stream(dropout=0.5).draw(8, CPU).noise)


def test_processes_share_one_batch_evenly() -> None:
    whole, parts = stream(dropout=0.5).draw(2, CPU), [stream(dropout=0.5).draw(2, CPU, r, 2) for r in range(2)]
    assert equal(whole, Batch(*(torch.cat(pair) for pair in zip(*(vars(p).values() for p in parts), strict=True))))
    with pytest.raises(UsageError, match="4 images cannot be divided evenly among 3"):
        stream().draw(0, CPU, 0, 3)


@pytest.mark.parametrize(("size", "batch"), [(12, 4), (5, 4), (3, 8)])
def test_every_picture_is_drawn_once_an_epoch(size: int, batch: int) -> None:
    source = stream(data=Pictures(size=size), batch=batch)
    rows = torch.cat([source.indices(i) for i in range(size)])
    for epoch in rows.split(size):
        assert sorted(epoch.tolist()) == list(range(size))


def test_caption_dropout_replaces_its_share_by_the_null_prompt() -> None:
    null = materials().null
    texts = torch.cat([stream(dropout=0.25, batch=64).draw(i, CPU).text for i in range(8)])
    share = (texts == null).flatten(1).all(1).float().mean()
    assert 0.15 < share < 0.35
    assert not (stream(batch=64).draw(0, CPU).text == null).flatten(1).all(1).any()


def test_an_empty_data_set_is_refused_before_training() -> None:
    with pytest.raises(DataError, match="'lower'"):
        stream(data=Pictures(size=0))
