# %% [markdown] tags=["title"]
# ![FLAIR slices of three simulated patients, the tumour outlined in solid blue, and in dashed
# orange what a network found: nearly the same in the first and the third, half of it in the
# second](../docs/pictures/start.jpg)
#
# *Three patients that a network had not seen before, from lesson 03, where it is trained for a few
# minutes. Here you train a smaller one, in less than one minute.*
#
# Nothing is downloaded, no account is needed.
#
# Press *Run → Run All Cells* now, and read while it works.

# %% tags=["setup"]

# %% [markdown]
# The line above says how much this notebook will compute. A *profile* is `tiny` (seconds, for
# tests), `cpu` (minutes, for a laptop) or `gpu` (the real thing). The course chooses by what it
# finds; write `PROFILE = "tiny"` into the cell to choose yourself.

# %% [markdown]
# ## 1 · Twelve patients
#
# A brain scan is a stack of *slices*: pictures through the head, a few millimetres apart. Ours
# show three *sequences*, three ways to make tissue visible, stored as the three channels of an
# image: T1 before contrast agent, FLAIR, and T1 after contrast agent. In FLAIR, water-rich swollen
# tissue is bright, and that is where low-grade tumours (*gliomas*) show. In real data a specialist
# has outlined the tumour in every slice; here the simulation knows where it put it. That outline is
# the *target* the network learns from.
#
# These twelve patients (eight in `tiny`) are a simulation: real anatomy (an average of 152 healthy
# brains), invented tumours. Lesson 03 uses the same code on real patients by changing one name.

# %%
START = time.perf_counter()
PATIENTS, SIZE, FEATURES, EPOCHS = {"tiny": (8, 64, 8, 7), "cpu": (12, 96, 8, 12),
                                    "gpu": (12, 128, 16, 30)}[PROFILE]
folder = data.fetch("lgg-phantom", patients=PATIENTS)
names = [path.name for path in data.find_patients(folder)]
patient = data.read_patient(folder / names[0])
slices, height, width, depth = patient.image.shape
print(f"{patient.name}: {slices} slices of {height} x {width} pixels, {depth} channels")

# %%
middle = show.most_marked(patient.target)                # the slice with most tumour
channels = [patient.image[middle, :, :, c] for c in range(3)]
sequences = ["T1", "FLAIR", "T1 after contrast agent"]
windows = [show.find_window(patient.image[..., c]) for c in range(3)]
show.contact_sheet(channels, targets=[None, patient.target[middle], None],
                   titles=sequences, window=windows, columns=3,
                   alt="One slice of the first patient in three sequences; the tumour "
                       "is outlined in FLAIR.")

# %% [markdown]
# The same slice three times. The outline in the middle is the target. Look for it in the two other
# pictures: in T1 the tumour is darker than the tissue around it, often only just.

# %% [markdown]
# ## 2 · A network in a few seconds
#
# Eight patients teach the network, one is for *validation*: it tells when the network was best.
# Three are left for the *test*: these choose nothing, so what we measure on them is honest.
#
# The score is the *Dice similarity coefficient* (DSC): twice the overlap of two outlines, divided
# by the sum of their areas. 1 is a perfect match, 0 is no overlap. Two experts reach about 0.84 on
# real scans ([Buda et al.](https://arxiv.org/abs/1906.03720) and the authors' page on it).
#
# **Forecast.** Before you look on: what mean DSC do you expect on the test patients after so short
# a training? Write a number (or a range, `(0.6, 0.8)`) and a reason. Until then the outcome below
# stays folded; `check.forecast("00-start", "skip")` opens it without a forecast.

# %%
check.forecast("00-start", {"mean DSC": None}, reason="")   # a number in place of None

# %%
split = data.split_patients(names, validation=1, test=PATIENTS // 4, seed=SEED)
training, validation, test = (
    data.SliceDataset(folder, size=SIZE, patients=part, drop_ends=False)
    for part in split)
print(f"{len(training)} training slices of {len(split.training)} patients, "
      f"{len(validation)} for validation, {len(test)} to test")

# %%
torch.manual_seed(SEED)
model = models.UNet(in_channels=3, out_channels=1, features=FEATURES)
config = train.TrainConfig(epochs=EPOCHS, batch_size=8, learning_rate=3e-3,
                           optimizer="adamw", weight_decay=1e-2, schedule="cosine",
                           seed=SEED)
run = train.fit(model, training, validation, loss=losses.BCEDice(),
                augment=augment.Affine(), config=config,
                folder=settings.runs_folder() / f"00-start-{PROFILE}")

# %% [markdown]
# That was all: a U-Net (lesson 02 builds it block by block), a loss (lesson 04), slices that are
# turned, scaled and mirrored at random so that the network does not learn them by heart, and one
# loop. Run the cell again: it does not start over, it shows the finished run.

# %%
predictor = predict.load(run.folder)                # needs nothing but the run folder
predictions = predict.predict_all(predictor, test)
scores = predict.scores(predictions)
mean = float(np.nanmean(scores.column("dsc")))
seconds = time.perf_counter() - START
print(f"{len(scores)} test patients; {seconds:.0f} s since section 1 began")
check.outcome("00-start", {"mean DSC": mean})

# %%
show.patient_sheet(predictions, score=metrics.dsc, columns=len(predictions),
                   alt="Test patients, the slice with most tumour: target solid blue, "
                       "prediction dashed orange.")

# %% [markdown]
# Solid blue is the target, dashed orange what the network predicts for patients it has never seen.
# Where both lines run together the network is right. Few patients taught it, so expect misses,
# even of a tumour that your eye finds at once. And two or three test patients say little: others
# would give another mean. Lesson 03 does it with more patients, lesson 06 says
# how many it takes.

# %% [markdown]
# ## 3 · Move it yourself
#
# In JupyterLab or Colab: choose a patient and a slice, and move the threshold: the network gives
# every pixel a probability, and the threshold decides from where on it counts as tumour. Watch the
# DSC of the whole patient follow. (On a saved page you see a still picture instead.)

# %%
show.slice_viewer(predictions, score=metrics.dsc)

# %% [markdown]
# ## 4 · What was left behind
#
# Everything about a training lies in one *run folder*: the settings, the history, the weights.
# Nothing else is needed to predict new patients, not even this notebook.

# %%
for path in sorted(run.folder.rglob("*")):
    if path.is_file():
        name = path.relative_to(run.folder).as_posix()
        print(f"{name:60} {path.stat().st_size / 1024:8.1f} KB")

# %% [markdown]
# - `config.json`: patients, preparation, network, loss, training, versions. It is meant to be read.
# - `history.csv`: losses and DSC after every epoch. `tensorboard/`: the same for TensorBoard.
# - `last.pt`: all that is needed to go on after a stop. `best.pt`: the weights of the best epoch.

# %%
show.curves(run.history, alt="Training of the first network.")

# %% [markdown]
# Above: the loss should fall. Below: the DSC moves in jumps, for with one validation patient a few
# pixels decide. The best epoch is kept, wherever it was.

# %% [markdown]
# ## 5 · What your machine can do
#
# The doctor looks at versions that must fit together, compares one training step on your graphics
# card with the same step on the CPU, looks for free memory and disk, and says how many minutes the
# lessons will take here. `FIX` lines come with the command that mends them. In a terminal it is
# `course doctor`.

# %%
doctor.run()

# %% [markdown]
# ## 6 · Exercises, and how far you are
#
# From lesson 01 on there are exercises. You write a function; a checker runs it on small examples
# and says in one line whether it is right, or what is wrong with it. What you solved is kept in
# `course.json`, in the folder of your runs; nothing is sent anywhere.

# %%
check.summary()

# %%
best = max(mean, run.best["prepared_dsc"])
assert best > 0.1, "a few seconds should find some tumour"
assert run.history[-1]["training_loss"] < run.history[0]["training_loss"]

# %% [markdown]
# ## Summary
#
# You prepared a dozen patients, trained a network, scored it on patients that it had not seen, and
# looked at where it fails. Every lesson works like this: an idea, a few lines, a result, and what
# it shows and what it does not. Before each experiment there is a *forecast*: write it down, even
# if it is a guess; being wrong is how you notice what you believed.
#
# **Where things are.** `notebooks/` are the lessons, `course_lib/` is the library behind them
# (small enough to be read), `docs/results.md` says what was measured, and how.
#
# **What we left out.** Why U-Net looks the way it does, what the loss rewards, how sure a score
# is.
#
# **Next:** [01 · Look at the data](01_look_at_the_data.ipynb). For research and teaching; not for
# clinical use.
