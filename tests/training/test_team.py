"""Two processes at one fit learn what one process learns."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from gnomon.data import InMemory
from gnomon.training.team import join
from tests.training.conftest import Playground
from tests.training.test_loop import Exact


def play(rank: int, world: int, port: int, folder: str) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    team, _ = join(torch.device("cpu"))
    playground = Playground()
    loop = playground.loop(Exact, clip=0.5, average=0.9)
    loop.train = InMemory(playground.stored, playground.scaling, batch_size=16, rank=rank, world=world)
    loop.team = team
    loop.run()
    save_file(
        {"data": loop.game.sides[0].data, "loss": torch.tensor([r["train/loss"] for r in loop.history])}, f"{folder}/{rank}.safetensors"
    )
    torch.distributed.destroy_process_group()


def test_two_processes_equal_one(playground: Playground, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(play, args=(2, port, str(tmp_path)), nprocs=2)
    alone = playground.loop(Exact, clip=0.5, average=0.9)
    alone.run()
    expected = torch.tensor([record["train/loss"] for record in alone.history])
    for rank in range(2):
        found = load_file(tmp_path / f"{rank}.safetensors")
        torch.testing.assert_close(found["data"], alone.game.sides[0].data, rtol=0, atol=1e-12)
        torch.testing.assert_close(found["loss"], expected)
