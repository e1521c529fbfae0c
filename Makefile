# `make demo` and `make test` install what they need. `make help` lists all commands.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Settings of demo and report-bug, such as: make demo ARGS="task=vqa"
ARGS ?=
TASKS := captioning vqa snli-ve captioning-multi

.DEFAULT_GOAL := help
.PHONY: help demo check-experiments test test-quick test-slow test-all test-gpu test-floors update-constraints lint format settings typecheck check-imports check report-bug bench bench-scale bench-gpu benchmark-flickr30k reproduce-baselines reproduce-captioners reproduce-related-work reproduce-synthetic reproduce-all clean $(addprefix sweep-,$(TASKS))

help:  ## List the commands
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/:/' | awk -F: '{printf "  make %-24s%s\n", $$1, $$2}'
	@printf '  make %-24s%s\n' sweep-TASK ' Train over a grid of noise, TASK one of $(TASKS)'

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: $(INSTALLED)  ## Train on text and on images, test on images, and write a report (about ten minutes on two cores)
	$(BIN)/python scripts/demo.py $(ARGS)

# pyproject.toml sets how many tests run at once. TESTS="-n0 tests/data" runs those of one folder, one after another.
TESTS ?=
test: $(INSTALLED)  ## Run the default tests (about six minutes on two cores)
	$(BIN)/python -m pytest $(TESTS)

test-quick: $(INSTALLED)  ## Run the tests that neither train nor start a process
	$(BIN)/python -m pytest -m 'not slow and not train and not subprocess' $(TESTS)

test-slow: $(INSTALLED)  ## Run the slow tests (kills, full disks, the README's commands)
	$(BIN)/python -m pytest -m slow $(TESTS)

test-all: $(INSTALLED)  ## Run all tests, including the slow ones
	$(BIN)/python -m pytest -m 'slow or not slow' $(TESTS)

test-gpu: $(INSTALLED)  ## Run the tests that need a GPU, which is hidden from all others
	$(BIN)/python -m pytest -n0 -m gpu $(TESTS)

# The lowest versions that pyproject.toml allows, in a separate environment. Not part of .ci/run.
FLOORS := .venv-floors
$(FLOORS)/.installed: pyproject.toml | $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	rm -rf $(FLOORS)
	$(PYTHON) -m venv $(FLOORS)
	$(BIN)/uv pip install --quiet --python $(FLOORS)/bin/python --resolution lowest-direct --editable '.[test]'
	@touch $@

test-floors: $(FLOORS)/.installed  ## Run the default tests on the lowest versions that pyproject.toml allows
	$(FLOORS)/bin/python -m pytest

update-constraints: $(INSTALLED)  ## Rewrite constraints.txt with the newest versions that fit
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	.ci/update_constraints $(BIN)/uv

lint: $(INSTALLED)  ## Run the linter and check the format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

settings: $(INSTALLED)  ## Write docs/settings.md from configs/ and the schemas
	$(BIN)/python -m docs.build_settings

typecheck: $(INSTALLED)  ## Check the types
	$(BIN)/mypy

check-imports: $(INSTALLED)  ## Check that no lower layer imports a higher one
	$(BIN)/lint-imports

check: lint typecheck check-imports  ## Run all static checks (linter, format, types, layers)

report-bug: $(INSTALLED)  ## Print versions, machine and (ARGS=run=FOLDER) a run's settings for a bug report
	@$(BIN)/python scripts/report_bug.py $(ARGS)

# The GPU is hidden, so that these time a CPU on every machine.
bench: export CUDA_VISIBLE_DEVICES :=
bench: $(INSTALLED)  ## Time start, encoding, training, decoding and scores on a CPU, next to other ways; reckon memory and floors (results in runs/benchmarks)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/text_encoding.py
	$(BIN)/python benchmarks/text_encoding.py ViT-L-14 --rounds 3 --texts 500 --padded-texts 64 --output runs/benchmarks/text_encoding_l14.json
	$(BIN)/python benchmarks/image_encoding.py
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/busy_neighbour.py
	$(BIN)/python benchmarks/training_ways.py
	$(BIN)/python benchmarks/training_epochs.py
	$(BIN)/python benchmarks/decoding.py
	$(BIN)/python benchmarks/captioner_decoding.py
	$(BIN)/python benchmarks/scoring.py --rounds 3 --meteor-rounds 1
	$(BIN)/python benchmarks/answer_parsing.py
	$(BIN)/python benchmarks/memory_table.py
	$(BIN)/python benchmarks/floors.py

# Ten million captions take 6 GB of disk. Writing distinct ones takes most of the time.
bench-scale: $(INSTALLED)  ## Measure memory and time of training on 100,000 to ten million captions (hours on two cores)
	$(BIN)/python benchmarks/growth.py --sizes 100000 1000000 10000000 --output runs/benchmarks/growth_scale.json

# docs/performance.md reckons that these take less than six minutes on one H100.
bench-gpu: $(INSTALLED)  ## Time encoding, training and decoding on a GPU, next to other ways, and reckon a COCO run (results in runs/benchmarks/gpu)
	$(BIN)/python benchmarks/text_encoding.py ViT-L-14 --rounds 3 --padded-texts 4000
	$(BIN)/python benchmarks/image_encoding.py ViT-L-14 --images 4096
	$(BIN)/python benchmarks/training_step.py --rounds 3 --steps 20
	$(BIN)/python benchmarks/training_step.py --rounds 3 --steps 8 --batch-size 1024 --output runs/benchmarks/gpu/training_step_1024.json
	$(BIN)/python benchmarks/coco_run.py
	$(BIN)/python benchmarks/memory_table.py --measured
	$(BIN)/python benchmarks/decoding.py --lms t5-base --rounds 2

benchmark-flickr30k: $(INSTALLED)  ## Measure speed and memory of an epoch on Flickr30k's captions (needs the data)
	$(BIN)/python benchmarks/flickr30k_epoch.py

sweep-captioning sweep-vqa sweep-snli-ve sweep-captioning-multi: sweep-%: $(INSTALLED)
	$(BIN)/python scripts/sweep_noise.py task=$* noises=[0,0.03,0.06,0.1,0.15] \
		train_overrides="train.epochs=$(if $(filter captioning,$*),6,$(if $(filter captioning-multi,$*),1,10))"

runs/picturebook_lm/pretraining.json: | $(INSTALLED)
	$(BIN)/python scripts/write_picturebook_text.py output=runs/picturebook_text/captions.jsonl
	$(BIN)/python scripts/write_picturebook_text.py what=questions per_line=5 output=runs/picturebook_text/questions.jsonl
	$(BIN)/python scripts/pretrain_lm.py lm=gpt2-mini lm.config.n_positions=256 text=[runs/picturebook_text/captions.jsonl,runs/picturebook_text/questions.jsonl] max_tokens=255 output=runs/picturebook_lm

runs/encoders/classified/training.json: | $(INSTALLED)
	$(BIN)/python scripts/train_picturebook_clip.py objective=classes output=runs/encoders/classified

runs/encoders/random/training.json: | $(INSTALLED)
	$(BIN)/python scripts/train_picturebook_clip.py objective=none num_scenes=1000 output=runs/encoders/random

# Written at the end of the training; image_encoder.json is there after an interrupted one too.
runs/encoders/masked/encoder/encoder.json: | $(INSTALLED)
	$(BIN)/python scripts/train_image_encoder.py objective=masked_patches output=runs/encoders/masked

check-experiments: $(INSTALLED)  ## Build every experiment of configs/experiment/ at full size and train three steps (16 GB of memory)
	$(BIN)/python benchmarks/check_experiments.py

RELATIVES := runs/study/relatives/captioning
reproduce-related-work: runs/picturebook_lm/pretraining.json runs/encoders/classified/training.json runs/encoders/random/training.json runs/encoders/masked/encoder/encoder.json  ## Compare CLOSE with related methods at Picturebook's size (an hour and a half on two cores; resumable)
	$(BIN)/python scripts/run_study.py study=relatives
	$(BIN)/python scripts/score_by_word_type.py "evaluations=[$(RELATIVES)/*/seed-0/test-*,$(RELATIVES)/nearest-training-text]"
	$(BIN)/python scripts/study_few_shot.py runs=[$(RELATIVES)/text-transformer-frozen/seed-0,$(RELATIVES)/clipcap-transformer-frozen/seed-0,$(RELATIVES)/limber-clip/seed-0,$(RELATIVES)/limber-classifier/seed-0,$(RELATIVES)/limber-self-supervised/seed-0,$(RELATIVES)/limber-random/seed-0,$(RELATIVES)/limber-blind/seed-0]
	for run in close-text clipcap-transformer-frozen text-transformer-frozen; do \
		$(BIN)/python scripts/inspect_prefix.py run=$(RELATIVES)/$$run/seed-0; done

runs/synthetic/plain/card.md: | $(INSTALLED)
	$(BIN)/python scripts/synthesize_captions.py num_texts=36000 output=runs/synthetic/plain

runs/synthetic/first-person/card.md: | $(INSTALLED)
	$(BIN)/python scripts/synthesize_captions.py recipe=egocentric num_texts=14000 output=runs/synthetic/first-person

SYNTHETIC := runs/synthetic/plain/card.md runs/synthetic/first-person/card.md
reproduce-synthetic: $(SYNTHETIC)  ## Train on generated captions, for a learning curve and two styles (half an hour on two cores; resumable)
	$(BIN)/python scripts/study_corpora.py
	$(BIN)/python scripts/study_corpora.py corpora=[runs/synthetic/plain/corpus.jsonl,runs/synthetic/first-person/corpus.jsonl] \
		sizes=[10000] extra_systems=[] output=runs/study/styles

reproduce-captioners: $(INSTALLED)  ## Compare captioners with their controls (hours on two cores; resumable)
	$(BIN)/python scripts/study_captioners.py

runs/encoders/wide/training.json: | $(INSTALLED)
	$(BIN)/python scripts/train_picturebook_clip.py embed_dim=256 steps=1500 output=runs/encoders/wide

runs/encoders/learned/training.json: | $(INSTALLED)
	$(BIN)/python scripts/train_picturebook_clip.py learn_temperature=true temperature=0.07 steps=1500 output=runs/encoders/learned

ENCODERS := runs/encoders/wide/training.json runs/encoders/learned/training.json
reproduce-baselines: $(ENCODERS)  ## Score baselines that need no training
	for task in $(TASKS); do $(BIN)/python scripts/baseline.py task=$$task output=runs/baselines/nearest-$$task; done
	for task in vqa snli-ve; do $(BIN)/python scripts/baseline.py task=$$task baseline=zero-shot output=runs/baselines/zero-shot-$$task; done
	for encoder in wide learned; do $(BIN)/python scripts/baseline.py output=runs/baselines/nearest-$$encoder \
		clip=open_clip clip.model=local-dir:runs/encoders/$$encoder; done

reproduce-all: $(addprefix sweep-,$(TASKS)) $(ENCODERS) reproduce-baselines reproduce-captioners reproduce-related-work reproduce-synthetic  ## Reproduce Picturebook's numbers in docs/results/ (hours on two cores; resumable)
	$(BIN)/python scripts/run_study.py study=adapters
	$(BIN)/python scripts/run_study.py study=shifts
	$(BIN)/python scripts/measure_gap.py split=test output=runs/gap/shipped
	$(BIN)/python scripts/run_study.py study=transfer output=runs/study/transfer-shipped
	for encoder in wide learned; do clip="clip=open_clip clip.model=local-dir:runs/encoders/$$encoder"; \
		$(BIN)/python scripts/measure_gap.py split=test output=runs/gap/$$encoder $$clip; \
		$(BIN)/python scripts/run_study.py study=transfer output=runs/study/transfer-$$encoder train_overrides="$$clip"; \
		$(BIN)/python scripts/run_study.py study=rules output=runs/study/rules-$$encoder train_overrides="$$clip"; done
	$(BIN)/python benchmarks/gap_and_transfer.py
	$(BIN)/python scripts/run_study.py study=results

clean:  ## Remove the environment, caches and vectors, but not runs/
	rm -rf $(VENV) $(FLOORS) cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
