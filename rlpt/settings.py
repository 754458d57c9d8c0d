"""Every setting that can change a result, with the paper's value as its default.

The sections below are the tables of a manifest. Where the paper's text and its published code differ, the default is
what made the published curves; docs/fidelity.md lists the differences and the settings that switch them.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"What becomes part of file names and job ids."
Method = Literal["ik", "imagenet"]
"How an encoder is pretrained; the section of settings of this name is about it."
Positive = Annotated[int, Field(gt=0)]
BatchSize = Annotated[int, Field(ge=2)]
"Batch norm needs two for a variance."
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
PositivePair = Annotated[tuple[Positive, Positive], Strict(False)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[tuple[Beta, Beta], Strict(False)]
Range = Annotated[tuple[float, float], Strict(False)]

_LARGEST_BUFFER = 8192


class Section(BaseModel):
    """One table of a manifest: unknown keys, wrong types and numbers that are not finite are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class EnvironmentSettings(Section):
    """`[environment]`: how a task becomes pixels."""

    size: Positive = 100
    "Height and width of a frame in pixels."
    camera: Annotated[int, Field(ge=-1)] = 0
    "Camera of the model; -1 is the free camera."
    frame_stack: Annotated[int, Field(ge=1, le=255)] = 3
    action_repeat: Positive = 4
    "Control steps (dm_control's environment steps) for which one agent step repeats its action."
    shadows: bool = True
    reflections: bool = True
    multisampling: Annotated[int, Field(ge=0, le=16)] = 4
    "Samples a pixel; 0 turns antialiasing off."
    offscreen_size: PositivePair | None = None
    "Width and height of the rendering buffer; left out: the frame's own, which gives the same pixels."

    @model_validator(mode="after")
    def _buffer_holds_frame(self) -> Self:
        for name, sides in (("size", (self.size,)), ("offscreen_size", self.offscreen_size or ())):
            if sides and max(sides) > _LARGEST_BUFFER:
                raise ValueError(f"{name} {max(sides)} is more than {_LARGEST_BUFFER} pixels a side")
        if self.offscreen_size and min(self.offscreen_size) < self.size:
            raise ValueError(f"offscreen_size {list(self.offscreen_size)} is smaller than size {self.size}")
        return self


class EncoderSettings(Section):
    """`[encoder]`: convolution → batch norm → ReLU, `layers` times; the first layer has stride 2."""

    crop: Positive = 84
    "Height and width of the network's input, cut out of the frame."
    layers: Positive = 11
    filters: Positive = 90
    groups: Positive = 3
    "Groups of the first `grouped_layers` layers; 1 is a standard convolution."
    grouped_layers: Annotated[int, Field(ge=0)] = 6

    @model_validator(mode="after")
    def _is_buildable(self) -> Self:
        if self.grouped_layers and self.filters % self.groups:
            raise ValueError(f"groups = {self.groups} does not divide filters = {self.filters}")
        if self.grouped_layers > self.layers:
            raise ValueError(f"grouped_layers = {self.grouped_layers} is more than layers = {self.layers}")
        if self.output_size < 1:
            raise ValueError(f"{self.layers} layers leave nothing of a crop of {self.crop} pixels")
        return self

    def groups_of(self, layer: int) -> int:
        """Returns the groups of a layer, counted from 0."""
        return self.groups if layer < self.grouped_layers else 1

    @property
    def output_size(self) -> int:
        """Height and width of the feature map: each 3×3 layer removes 2 pixels; the first then halves."""
        return (self.crop - 3) // 2 + 1 - 2 * (self.layers - 1)


class GenerateSettings(Section):
    """`[generate]`: transitions under uniform random actions (paper section 3.3.1)."""

    transitions: Positive = 200_000
    "T, in agent steps."
    reset_every: Positive = 100
    "k, in control steps as in the published code (fidelity item 2)."
    seed: Annotated[int, Field(ge=0)] = 0


class InverseKinematicsSettings(Section):
    """`[ik]`: predicting a_t from (o_t, o_{t+1}) (paper section 3.3.2)."""

    epochs: Positive = 30
    batch_size: BatchSize = 128
    learning_rate: Rate = 1e-3
    hidden: PositivePair = (1024, 256)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    test_fraction: Fraction = 0.05
    "The last part of the transitions, held out."
    transitions: Positive | None = None
    """Learn from so many transitions of the dataset, drawn at random, as published for Figure 11 (fidelity item 3);
    left out: from all."""
    input_range: Literal[1, 255] = 255
    "Pixels enter as 0…255, as published, or as 0…1 like in RL (fidelity item 5)."
    seed: Annotated[int, Field(ge=0)] = 0


class ImageNetSettings(Section):
    """`[imagenet]`: classifying stacks of images (paper section 3.2.1)."""

    dataset: Annotated[str, Field(pattern=NAME)] = "imagenet"
    """The folder's name in the data folder. "synthetic" is drawn by rlpt itself where it is missing."""
    classes: Literal["paper", "all"] = "paper"
    "The 100 published ones (fidelity item 7), or every class of the data folder."
    epochs: Positive = 400
    "Where training stops and the encoder is written."
    schedule_epochs: Positive = 500
    "Where the learning rate's cosine ends; the published encoder is from epoch 400 of 500."
    batch_size: Positive = 120
    "Images, not stacks; a multiple of the frame stack."
    learning_rate: Rate = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    hidden: Positive = 1024
    "Of each image's head."
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _schedule_lasts(self) -> Self:
        if self.epochs > self.schedule_epochs:
            raise ValueError(f"schedule_epochs = {self.schedule_epochs} is less than epochs = {self.epochs}")
        return self


class AgentSettings(Section):
    """`[agent]`: Soft Actor-Critic on pixels."""

    features: Positive = 100
    "Size of the encoder's Linear → LayerNorm → tanh output."
    hidden: Positive = 1024
    discount: Annotated[float, Field(ge=0, le=1)] = 0.99
    actor_learning_rate: Rate = 1e-4
    critic_learning_rate: Rate = 1e-4
    alpha_learning_rate: Rate = 1e-4
    betas: Betas = (0.9, 0.999)
    alpha_betas: Betas = (0.5, 0.999)
    initial_alpha: Rate = 0.1
    log_std_range: Range = (-10.0, 2.0)
    actor_update_every: Positive = 2
    target_update_every: Positive = 2
    tau: Annotated[float, Field(gt=0, le=1)] = 0.01
    encoder_tau: Annotated[float, Field(gt=0, le=1)] = 0.05
    head_init: Literal["published", "orthogonal", "default"] = "published"
    """How all layers that are not loaded from an encoder start (fidelity item 1). "published": orthogonal without a
    pretrained encoder, the framework's default with one; the other two apply the same to both."""

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if self.log_std_range[0] >= self.log_std_range[1]:
            raise ValueError(f"log_std_range = {list(self.log_std_range)} does not rise")
        return self


class TrainSettings(Section):
    """`[train]`: the reinforcement-learning loop."""

    steps: Positive = 80_000
    "N, in agent steps."
    batch_size: BatchSize = 128
    random_steps: Annotated[int, Field(ge=1)] = 1_000
    "Agent steps with uniform random actions before the first update."
    initial_updates: Positive = 1_000
    """Updates in a row when the random steps are over. All belong to agent step `random_steps`: actor and target move
    in each, or, where that is no multiple of `actor_update_every` or `target_update_every`, in none."""
    replay_capacity: Positive = 100_000
    "Latest transitions that batches are drawn from. Frames of all are kept, on disk and, if there is one, on the GPU."
    evaluate_every: Positive = 10_000
    evaluation_episodes: Positive = 10
    log_every: Positive = 100
    "Agent steps between rows of updates.csv."
    record_video: bool = False
    "Writes the last evaluation's first episode as evaluation.mp4; `rlpt play` makes a movie of any finished run."


Precision = Literal["float32", "tf32", "bfloat16"]


class ComputeSettings(Section):
    """`[compute]`: how numbers are rounded while networks learn."""

    precision: Precision = "float32"
    """"tf32": a GPU rounds what it multiplies in convolutions and linear layers to 10 bits; a CPU does not. "bfloat16":
    convolutions, on either, take and give numbers of 7 bits; sums, batch norm's statistics and weights keep 23."""


class Settings(Section):
    """Everything that decides the result of one condition."""

    environment: EnvironmentSettings = EnvironmentSettings()
    encoder: EncoderSettings = EncoderSettings()
    generate: GenerateSettings = GenerateSettings()
    ik: InverseKinematicsSettings = InverseKinematicsSettings()
    imagenet: ImageNetSettings = ImageNetSettings()
    agent: AgentSettings = AgentSettings()
    train: TrainSettings = TrainSettings()
    compute: ComputeSettings = ComputeSettings()

    @model_validator(mode="after")
    def _sections_fit_together(self) -> Self:
        encoder, environment = self.encoder, self.environment
        if encoder.crop > environment.size:
            raise ValueError(
                f"encoder.crop = {encoder.crop} is larger than the image, environment.size = {environment.size}"
            )
        channels = 3 * environment.frame_stack
        if encoder.grouped_layers and channels % encoder.groups:
            raise ValueError(
                f"encoder.groups = {encoder.groups} does not divide the {channels} input channels "
                f"of environment.frame_stack = {environment.frame_stack}"
            )
        if self.ik.transitions and self.ik.transitions > self.generate.transitions:
            raise ValueError(
                f"ik.transitions = {self.ik.transitions} is more than generate.transitions = "
                f"{self.generate.transitions}"
            )
        if self.train.random_steps >= self.train.steps:
            raise ValueError(
                f"train.random_steps = {self.train.random_steps} leaves no step of train.steps = {self.train.steps}"
            )
        return self
