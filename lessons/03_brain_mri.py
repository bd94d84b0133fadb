# %% [markdown] tags=["title"]
# **Builds on** nothing but Python and a little PyTorch; lesson 00 is a shorter start. With 40 real
# patients it runs about 4 minutes on a laptop's CPU (docs/results.md).

# %% tags=["setup"]

# %% [markdown]
# ## 1 · The task and the data
#
# Low-grade gliomas are slowly growing brain tumours. Doctors follow their volume over years, so
# somebody has to outline them, slice by slice. They show best in *FLAIR*, an MRI sequence in which
# swollen tissue is bright; a *contrast agent*, injected before the third picture, lights up
# leaking vessels. The public *LGG segmentation* set on Kaggle holds 110 patients with such
# outlines: 3,929 slices of 256 x 256 pixels, as tif files with three channels (T1 before contrast
# agent, FLAIR, T1 after contrast agent). A well-known tutorial trains a U-Net on it and reports a
# DSC of 0.91. We do the same task, and look closely at what such a number says.
#
# The score is the *Dice similarity coefficient* (DSC) of two outlines, in pixels of the whole
# patient: twice the pixels that lie in both, divided by the sum of those in each. 1 is a perfect
# match, 0 no overlap. (Its relative, *intersection over union* or IoU, ranks alike and is always a
# little lower.)
#
# `NAME` chooses the data. `"lgg-phantom"` is a simulated twin that needs no download: real
# anatomy, invented tumours, the same files and folders. It was fitted to the real set: sizes and
# brightness of the tumours, 20 to 88 slices a patient, and a few patients of whom a sequence was
# never taken (FLAIR then stands in its place, there as here). `"lgg-mri"` is the real set
# (research and teaching, non-commercial); put it into the folder `data/` or let the course
# download it.

# %%
NAME = "lgg-phantom"              # or "lgg-mri"
SETTINGS = {
    "tiny": {"patients": 8, "size": 64, "features": 8, "epochs": 6},
    "cpu": {"patients": 32, "size": 128, "features": 8, "epochs": 14},
    "gpu": {"patients": 40, "size": 256, "features": 32, "epochs": 60},
}[PROFILE]
folder = data.fetch(NAME, patients=SETTINGS["patients"])
names = [path.name for path in data.find_patients(folder)]
check.enough_patients("03", names)

# %% [markdown]
# Files get lost and damaged on their way. Before anything rests on them, `data.verify` reads each
# one and lists what is wrong, and the cure: masks without image, values that a mask cannot have,
# slices that are missing, a patient who is there twice. `SliceDataset`, below, refuses by the same
# checks.

# %%
data.verify(folder)

# %%
patient = data.read_patient(folder / names[1])
areas = patient.target.sum(axis=(1, 2))
print(f"{patient.name}: {len(patient.slices)} slices, {np.sum(areas == 0)} without "
      f"tumour, {areas.sum():,} tumour pixels in all")
chosen = np.linspace(2, len(areas) - 3, 8).round().astype(int)
show.contact_sheet([patient.image[s, :, :, 1] for s in chosen],
                   targets=[patient.target[s] for s in chosen],
                   titles=[f"slice {patient.slices[s]}" for s in chosen],
                   window=show.find_window(patient.image[..., 1]),
                   alt="Eight slices of one patient in FLAIR from the base of the "
                       "skull upwards, tumour outlined where there is one.")

# %% [markdown]
# From the base of the skull upwards. Two things make this task hard for a simple rule. Most slices
# hold no tumour at all (65 % of the real set's), and much else is bright in FLAIR: fat under the
# skin, small harmless spots, uneven illumination by the scanner's coil.

# %% [markdown]
# ## 2 · Prepare, and split by patient
#
# Scanners do not agree on what an intensity of 80 means, so every patient is *normalised* on their
# own: cut away the air, crop to the head, resize, clip the brightest and darkest values, and shift
# and scale each channel to mean 0 and standard deviation 1. It is done for the whole volume, never
# per slice: a slice without tumour must not be stretched until something in it looks bright. The
# steps are those of the public reference implementation of this task
# (`course_lib/data/geometry.py` names each one), except that we keep the first and last slice of
# every patient, which the reference drops.
#
# The *split* is by patient. Neighbouring slices are nearly the same picture, so a split by slice
# would let the network recognise test slices; lesson 01 shows how much that flatters.
#
# How many slices make a *batch*, and how large they are, is bounded by a GPU's memory:
# `fitting_batch` asks what is free and takes less where it must. On a CPU it changes nothing.

# %%
test_count = 2 if PROFILE == "tiny" else 8
batch_size, size = models.fitting_batch(SETTINGS["features"], SETTINGS["size"],
                                       batch_size=8 if PROFILE == "tiny" else 16)
split = data.split_patients(names, validation=max(1, len(names) // 8), test=test_count,
                            seed=SEED)
start = time.perf_counter()
training, validation, test = (
    data.SliceDataset(folder, size=size, patients=part, drop_ends=False)
    for part in split)
print(f"prepared in {time.perf_counter() - start:.1f} s")

# %%
with_tumour = [name for part in (training, validation, test) for name in part.patients
               if part.prepared(name).target.any()]
check.enough_patients("03", with_tumour, "with tumour")
tables.Table([{"part": part, "patients": len(dataset.patients), "slices": len(dataset),
             "slices with tumour": int((dataset.targets.sum(dim=(1, 2, 3)) > 0).sum())}
            for part, dataset in (("training", training), ("validation", validation),
                                  ("test", test))])

# %% [markdown]
# Validation patients choose the best epoch. Test patients choose nothing: not the network, not the
# epoch, not a threshold. The tutorial has no such part: it reports the best epoch's score on the
# very patients that chose the epoch.

# %% [markdown]
# ## 3 · How well does nearly nothing do?
#
# A score means little without something to compare with. Two baselines:
#
# - **all empty**: predict no tumour, anywhere;
# - **FLAIR threshold**: every pixel brighter than some value is tumour; then keep the largest
#   connected piece. The value is the one that does best on the *training* patients.
#
# Both are written as networks without weights, so that they pass through exactly the same steps as
# the U-Net: prediction on prepared slices, back to the original pixels, largest connected piece,
# DSC per patient.
#
# **Forecast.** Which mean DSC will the threshold reach on the test patients? And which the U-Net,
# which sees the same pixels? What can it know that a threshold cannot?

# %%
check.forecast("03-baselines", {"all empty": None, "FLAIR threshold": None}, reason="")

# %%
check.forecast("03-unet", {"U-Net": None}, reason="")

# %%
class FlairThreshold(torch.nn.Module):
    """Logits that are positive where FLAIR (z-scored) is above a value."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, image):
        return 10 * (image[:, 1:2] - self.value)    # above 0: probability above 0.5


def mean_dsc(table):
    return float(np.nanmean(table.column("dsc")))

# %%
candidates = np.arange(0.5, 4.01, 0.25)
on_training = []
for value in candidates:
    dsc = predict.prepared_dsc(FlairThreshold(value), training)
    on_training.append(np.nanmean(list(dsc.values())))
best_value = float(candidates[int(np.argmax(on_training))])
print(f"best threshold on the training patients: {best_value:.2f} standard deviations "
      "above the mean")

# %%
ladder = {}
for title, value in (("all empty", np.inf), ("FLAIR threshold", best_value)):
    baseline = predict.Predictor(FlairThreshold(value), test.preparation)
    ladder[title] = predict.evaluate(baseline, test)
empty = float((test.targets.sum(dim=(1, 2, 3)) == 0).float().mean())
print(f"{len(test.patients)} test patients; {empty:.0%} of their slices hold no tumour")
check.outcome("03-baselines",
              {title: mean_dsc(table) for title, table in ladder.items()})

# %% [markdown]
# The empty prediction scores 0: every test patient has a tumour, and DSC is taken over the whole
# patient. Were it taken per slice, with 1 for each empty slice that is left empty, the same
# nothing would score the share of empty slices, printed above (on the real set 0.65: 2,556 of
# 3,929). Always ask what a DSC is taken over.
#
# Why does the threshold do so badly? Look at what it keeps:

# %%
shown = {name: baseline.patient(folder / name)            # the last baseline
         for name in split.test[:4]}
show.patient_sheet(shown, alt="What the FLAIR threshold keeps in four test patients.")

# %% [markdown]
# Where the dashed line runs along the skin, the brightest large thing in the head was not the
# tumour but the fat under the skin, and the largest connected piece is just that. A threshold
# knows nothing of place and shape.

# %% [markdown]
# ## 4 · Train, watch, stop, resume
#
# The network is a U-Net with a loss that adds pixel-wise cross-entropy and overlap (lesson 04
# takes it apart). Each step draws patients evenly and, within a patient, slices with tumour more
# often; turns, scales and mirrors them, and makes them brighter or darker as another scanner
# would; and moves the weights a little. After each *epoch* (as many draws as there are slices) the
# validation patients are scored.

# %%
config = train.TrainConfig(epochs=SETTINGS["epochs"], batch_size=batch_size,
                           learning_rate=3e-3, optimizer="adamw", weight_decay=1e-2,
                           schedule="cosine", seed=SEED)
run_folder = settings.runs_folder() / f"03-{NAME}-{PROFILE}"


def new_model():
    torch.manual_seed(SEED)
    return models.UNet(in_channels=3, out_channels=1, features=SETTINGS["features"])

# %% [markdown]
# **Stop.** Trainings get interrupted: a lid closes, Colab disconnects. We do it on purpose. The
# function below sends, in the middle of the second epoch, the same signal as the notebook's stop
# button.

# %%
import functools
import signal

plain = augment.Compose([augment.Affine(), augment.Scanner()])
seen = []


@functools.wraps(plain)       # keeps name and arguments: to `fit` it is the same
def stop_in_second_epoch(image, target, generator):
    seen.append(len(image))
    if len(seen) == 3 * (len(training) // config.batch_size) // 2:
        signal.raise_signal(signal.SIGINT)
    return plain(image, target, generator)


# %%
def train_it(augmentation):
    return train.fit(new_model(), training, validation, loss=losses.BCEDice(),
                     augment=augmentation, config=config, folder=run_folder)


try:
    if not (run_folder / "last.pt").exists():
        train_it(stop_in_second_epoch)
except KeyboardInterrupt:
    print("\nstopped in the second epoch")

# %% [markdown]
# **Watch.** TensorBoard draws what a training writes after every epoch. We open it here, inside
# the notebook. While the training goes on, the round arrow at the top of the frame reads again.
# If the frame stays empty (the browser must allow it), nothing is lost: the same curves are drawn
# below from `history.csv`.

# %%
import random
from urllib.parse import urlsplit

from tensorboard import notebook, program

board = program.TensorBoard()
board.configure(logdir=str(run_folder), port=0, load_fast="false")
port = urlsplit(board.launch()).port     # it runs in this kernel, and ends with it


def watch():
    random.seed()    # the frame's name is drawn: a resume would bring the same again
    notebook.display(port=port, height=600)


watch()

# %% [markdown]
# **Forecast.** One epoch and a half are done. Will the training start over, go on from the middle
# of the second epoch, or from its beginning? And will the final weights differ from those of a
# training that was never stopped?

# %%
check.forecast("03-resume", {"whole epochs that are kept": None}, reason="")

# %% [markdown]
# **Resume** is calling the same function again, with the same settings.

# %%
before = len(train.read_history(run_folder))
run = train_it(plain)
compute = run.config["compute"]
print(f"best epoch {run.best['epoch']:.0f}: "
      f"validation DSC {run.best['prepared_dsc']:.3f}; "
      f"{run.history[-1]['seconds']:.0f} s of training; {compute['layout']}, "
      f"{compute['precision']}")

# %%
if before == config.epochs:         # the training was there already: nothing to count
    before = None                   # (what came out then is shown)
check.outcome("03-resume", {"whole epochs that are kept": before})

# %% [markdown]
# It goes on after the last whole epoch, with the state of everything as it was then, random
# numbers included: on a CPU the final weights are the same, bit for bit, as without the
# interruption. (A test of the library kills trainings at every step to make sure.) Change a
# setting, and `fit` refuses and names the change.

# %%
watch()                                         # TensorBoard again, now with all epochs

# %%
show.curves(train.read_history(run_folder), alt="Training on brain MRI slices.")

# %% [markdown]
# Above: both losses fall; where the training loss goes on falling while the validation loss turns,
# the network begins to learn its patients by heart. Below: the DSC of the few validation patients
# jumps while the learning rate is high and settles when it falls.

# %% [markdown]
# ## 5 · Score each patient
#
# `predict.load` needs only the run folder: the preparation is stored with the weights. Predictions
# are brought back to the original pixels, all slices included, and scored there.

# %%
predictor = predict.load(run_folder)
predictions = predict.predict_all(predictor, test)
scores = predict.scores(predictions)
scores.save(run_folder / "scores.csv")
check.outcome("03-unet", {"U-Net": mean_dsc(scores)})

# %%
scores

# %%
chart = show.dsc_chart(scores, alt="Test patients, worst at the bottom.")
chart.save(run_folder / "pictures" / "dsc_chart.png")
chart

# %% [markdown]
# One bar per patient: the solid line is the mean, the dashed line the median. The mean says less
# than the spread: a single miss among eight patients moves it by about 0.1, and the tutorial's
# best variant (0.9155) beats its first (0.9140) by 0.0015.

# %%
low, high = stats.bootstrap_interval(scores.column("dsc"))
ladder["U-Net"] = scores
print(f"U-Net: mean DSC {mean_dsc(scores):.3f}, 95 % interval {low:.3f} to {high:.3f} "
      f"({np.sum(~np.isnan(scores.column('dsc')))} patients)")
tables.Table([{"": title, "mean DSC": mean_dsc(table),
               "worst patient": float(np.nanmin(table.column("dsc")))}
              for title, table in ladder.items()])

# %% [markdown]
# The ladder, all on the same test patients and the same grid. To place it, published numbers for
# the **real** set: the tutorial's 0.91 (ten patients, the best epoch chosen on the same ten); 0.82
# to 0.84 in cross-validation over all 110 ([Buda et al. 2019](https://arxiv.org/abs/1906.03720)
# and the authors' page); 0.84 between two experts. The simulated twin has no published number; on
# it, only our own ladder counts.

# %%
if NAME == "lgg-phantom":                       # of other patients nothing is promised
    assert mean_dsc(ladder["U-Net"]) > mean_dsc(ladder["all empty"]) == 0
    if PROFILE != "tiny":                       # nor of a few seconds of training
        assert mean_dsc(ladder["U-Net"]) > mean_dsc(ladder["FLAIR threshold"])
    if PROFILE == "cpu":
        assert mean_dsc(ladder["U-Net"]) > 0.6  # 0.813 here, 0.72 with another seed

# %% [markdown] tags=["exercise"]
# ### Exercise 1 · The score itself
#
# Difficulty 2/5 · 10 minutes
#
# Every number above is a DSC. Write it: `dsc_of_patient(prediction, target)` for two masks (S, H,
# W) of 0 and 1, over the whole patient. Where both are empty there is nothing to measure: NaN.

# %% [markdown] tags=["hints"]
# - Twice the overlap, divided by the sum of both areas; all slices together.
# - `(prediction & target).sum()` counts pixels that are 1 in both.
# - One empty mask and one that is not: no overlap, so 0. Both empty: 0 / 0, so look before.

# %% tags=["solution"]
def dsc_of_patient(prediction, target):
    """Dice similarity coefficient of two masks over a whole patient.

    Args:
        prediction, target: (S, H, W) uint8 of 0 and 1.
    Returns:
        float in [0, 1]; NaN where both are empty.
    """
    size = int(prediction.sum()) + int(target.sum())
    return 2 * int((prediction & target).sum()) / size if size else float("nan")


check.dsc_of_patient(dsc_of_patient)

# %% [markdown] tags=["exercise"]
# ### Exercise 2 · Whose 0.91?
#
# Difficulty 2/5 · 5 minutes · no code
#
# The tutorial reports a DSC of 0.91 on the real set; the authors of the data, with a network of
# the same kind, 0.82 to 0.84. What explains the difference best?
#
# - **a** The tutorial's network is larger.
# - **b** The tutorial chose the best of 100 epochs on the ten patients it reports, and ten patients
#   can be easy ones; the others are in cross-validation, each patient scored once.
# - **c** 0.91 is counted in pixels, 0.82 in slices.
# - **d** The tutorial's DSC counts empty slices as 1.

# %% [markdown] tags=["hints"]
# - Who chose the epoch, and who was scored?
# - How much does a mean over ten patients move when others are drawn? Look at the interval above.

# %% tags=["solution"]
explanation = "b"

check.whose_score(explanation)

# %% [markdown]
# ## 6 · Best and worst patient, and why

# %%
measured = [row for row in scores if row["target_voxels"]]       # else nothing to rank
ranked = sorted(measured, key=lambda row: row["dsc"])
worst, best = ranked[0]["patient"], ranked[-1]["patient"]


def patient_gif(name):
    p = predictions[name]
    picture = show.gif(p.image[..., 1], p.mask, p.target,
                       alt=f"{name}: patient DSC {metrics.dsc(p.mask, p.target):.3f}.")
    picture.save(run_folder / "pictures" / f"{name}.gif")
    return picture


patient_gif(best)

# %% [markdown]
# The best patient: the slices with target or prediction and a few around them, from the base of
# the skull upwards; the number and the lines are explained below the picture.

# %%
patient_gif(worst)

# %% [markdown]
# The worst. Look before you read on: is the tumour missed, is something else taken for it, or is
# the outline only drawn differently?

# %%
import scipy.stats


def contrast(p):
    """FLAIR inside the tumour, relative to the healthy head around it."""
    flair = p.image[..., 1].astype(float)
    head = (flair > 0.1 * flair.max()) & (p.target == 0)
    return flair[p.target > 0].mean() / flair[head].mean()


reasons = [{"patient": row["patient"], "dsc": row["dsc"],
            "tumour voxels": row["target_voxels"], "predicted": row["predicted_voxels"],
            "FLAIR contrast": contrast(predictions[row["patient"]])}
           for row in ranked]
for cause in ("tumour voxels", "FLAIR contrast"):
    rank = scipy.stats.spearmanr([row["dsc"] for row in reasons],
                                 [row[cause] for row in reasons])
    print(f"rank correlation of DSC with {cause}: {rank.statistic:+.2f}")
tables.Table(reasons)

# %% [markdown]
# Read the table from the top, worst first. *Predicted* far below *tumour voxels* is a miss; far
# above is something else taken for tumour. The rank correlations say whether small tumours, or
# tumours hardly brighter than their surroundings, are the hard ones here: +1 would be strictly so,
# 0 not at all. With so few patients this is a description, not a law.

# %%
for name in predictions:       # a GIF for everyone, all pictures and masks in one zip
    if name not in (best, worst):
        patient_gif(name)
archive = predict.export(predictions, run_folder)
print(f"{settings.show_path(archive)}: {archive.stat().st_size / 1e6:.1f} MB; GIFs in "
      f"{settings.show_path(run_folder / 'pictures')}")

# %%
def dsc_of_largest(mask, target):
    return metrics.dsc(metrics.largest_component(mask), target)


viewer = show.slice_viewer(predictions, score=dsc_of_largest)
viewer.picture.save(run_folder / "pictures" / "test_patients.png")
viewer

# %% [markdown]
# Move the threshold of the worst patient. If the DSC rises a lot, the network saw the tumour and
# was not sure; if nothing helps, it did not see it. (Choosing the threshold on test patients and
# reporting the result would be cheating: do it to understand, not to score.)

# %% [markdown]
# ## Summary
#
# You trained on some patients, chose the epoch on others, and scored on a third group, per patient
# and on the original pixels. The ladder shows what the network adds over a threshold; the chart
# shows that a mean hides misses. Stopping and resuming changed nothing. The run folder holds
# everything, `predictions.zip` all pictures.
#
# **What it does not show.** How much of the score is luck of the split and the seed (lesson 06);
# whether another loss (04) or network (05) is better. The twin is a simulation: numbers on it do
# not carry over to patients.
#
# **Real data:** set `NAME = "lgg-mri"` and run again. **The tutorial's own recipe** and split:
# `python benchmarks/recipes.py --data lgg-mri --recipe reference --split reference --features 16`.

# %%
check.summary("03")
