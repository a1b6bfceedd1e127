"""Trains a small network to read handwritten digits, and goes on where it was.

After every epoch the whole state is in KEEP, a volume: who runs this again after a
power cut loses the epoch that was under way. At the end /out has the model as
TorchScript, the figures as JSON, and a picture of how it went.
"""

import csv
import gzip
import json
import os
import time

import torch
from torch import nn

DATA = "/usr/lib/python3/dist-packages/sklearn/datasets/data/digits.csv.gz"
KEEP = os.environ.get("KEEP", "/keep")
OUT = os.environ.get("OUT", "/out")
EPOCHS = int(os.environ.get("EPOCHS", "100"))
UNTIL = int(os.environ.get("UNTIL", str(EPOCHS)))  # stop there, and leave the rest to another run
TESTED = 450  # of 1,797 digits, never trained on


def digits():
    with gzip.open(DATA, "rt") as f:
        rows = torch.tensor([[float(x) for x in row] for row in csv.reader(f)])
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1797))
    rows = rows[order]
    images, labels = rows[:, :64].reshape(-1, 1, 8, 8) / 16, rows[:, 64].long()
    return (images[TESTED:], labels[TESTED:]), (images[:TESTED], labels[:TESTED])


def network():
    return nn.Sequential(
        nn.Conv2d(1, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(),
        nn.Conv2d(48, 96, 3, padding=1), nn.BatchNorm2d(96), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(96, 96, 3, padding=1), nn.BatchNorm2d(96), nn.ReLU(),
        nn.Flatten(), nn.Dropout(0.4), nn.Linear(96 * 16, 10),
    )


def moved(images):
    """The same digits, each a pixel aside or not at all."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    out = torch.empty_like(images)
    for i, (dy, dx) in enumerate(torch.randint(0, 3, (len(images), 2)).tolist()):
        out[i] = padded[i, :, dy : dy + 8, dx : dx + 8]
    return out


def save(path, state):
    """All of it or what was there before."""
    with open(path + ".new", "wb") as f:
        torch.save(state, f)
        f.flush()
        os.fsync(f.fileno())
    os.replace(path + ".new", path)


def epoch(model, optimizer, images, labels):
    model.train()
    total = 0.0
    for batch in torch.randperm(len(images)).split(64):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(moved(images[batch])), labels[batch])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    return total / len(images)


@torch.no_grad()
def test(model, images, labels):
    model.eval()
    said = model(images)
    right = (said.argmax(1) == labels).float().mean().item()
    return nn.functional.cross_entropy(said, labels).item(), right


def train(training, held_back):
    torch.manual_seed(8)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    path, history, resumed = os.path.join(KEEP, "checkpoint.pt"), [], []
    if os.path.exists(path):
        state = torch.load(path)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        history, resumed = state["history"], state["resumed"] + [len(state["history"])]
        print(f"going on from the checkpoint of epoch {len(history)}", flush=True)
    while len(history) < UNTIL:
        begin = time.monotonic()
        loss = epoch(model, optimizer, *training)
        schedule.step()
        tested, right = test(model, *held_back)
        history.append({"loss": loss, "tested": tested, "right": right})
        save(path, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
                    "random": torch.get_rng_state(), "history": history, "resumed": resumed})
        print(f"epoch {len(history):3d} of {EPOCHS}: loss {loss:.4f}, {right:.1%} of the digits held back are read right, "
              f"{time.monotonic() - begin:.1f} s", flush=True)
    return model, history, resumed


def export(model, held_back):
    """Writes the model for programs that know nothing of this file, and reads it back."""
    path = os.path.join(OUT, "model.pt")
    torch.jit.script(model.eval()).save(path)
    again = torch.jit.load(path)
    if not torch.equal(again(held_back[0]), model(held_back[0])):
        raise SystemExit("the exported model does not say what the trained one says")
    return again


@torch.no_grad()
def picture(model, history, resumed, held_back):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    images, labels = held_back
    said = model(images).argmax(1)
    confusion = torch.zeros(10, 10, dtype=torch.long)
    for truth, answer in zip(labels, said):
        confusion[truth, answer] += 1

    figure = plt.figure(figsize=(11, 6.4), dpi=90, facecolor="#fbfaf7")
    cells = figure.add_gridspec(2, 2, height_ratios=(3.2, 1), hspace=0.32, wspace=0.18)
    curve = figure.add_subplot(cells[0, 0], facecolor="#fbfaf7")
    numbers = range(1, len(history) + 1)
    curve.plot(numbers, [h["loss"] for h in history], color="#9a6a3c", label="training")
    curve.plot(numbers, [h["tested"] for h in history], color="#2f6f6f", label="held back")
    for i, n in enumerate(resumed):
        curve.axvline(n + 0.5, color="#b03030", ls="--", lw=1.2, label=None if i else "resumed")
    curve.set(yscale="log", xlabel="epoch", ylabel="cross entropy", title=f"{history[-1]['right']:.1%} of {len(labels)} digits read right")
    curve.legend(frameon=False)
    table = figure.add_subplot(cells[0, 1])
    table.imshow(confusion.float().sqrt(), cmap="YlGnBu")
    for truth in range(10):
        for answer in range(10):
            n = int(confusion[truth, answer])
            if n:
                table.text(answer, truth, n, ha="center", va="center", fontsize=8, color="white" if n > 20 else "black")
    table.set(xticks=range(10), yticks=range(10), xlabel="read as", ylabel="written", title="who is taken for whom")
    wrong = (said != labels).nonzero().flatten().tolist()
    shown = (wrong + (said == labels).nonzero().flatten().tolist())[:14]
    row = cells[1, :].subgridspec(1, 14, wspace=0.1)
    for k, i in enumerate(shown):
        box = figure.add_subplot(row[0, k])
        box.imshow(images[i, 0], cmap="gray_r")
        box.set(xticks=[], yticks=[])
        box.set_title(f"{int(said[i])}", fontsize=11, color="#b03030" if i in wrong else "#2f6f6f")
    figure.savefig(os.path.join(OUT, "report.png"), bbox_inches="tight")


def main():
    torch.set_num_threads(1)
    training, held_back = digits()
    model, history, resumed = train(training, held_back)
    if len(history) < EPOCHS:
        print("that was the beginning; the checkpoint is in the volume")
        return
    model = export(model, held_back)
    with open(os.path.join(OUT, "history.json"), "w") as f:
        json.dump({"resumed": resumed, "epochs": history}, f, indent=1)
    picture(model, history, resumed, held_back)
    print(f"{len(history)} epochs, begun {len(resumed) + 1} times; {history[-1]['right']:.1%} right")


main()
