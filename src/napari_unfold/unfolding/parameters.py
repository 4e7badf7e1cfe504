"""The parameters theta of the unfolded network as plain numbers, and how they are rescaled.

Parameters belong to the data they were found on. They are carried over to data of another
brightness exactly (scale equivariance), and to another PSF or upsampling by two rules of thumb.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from napari_unfold.settings.section import Section
from napari_unfold.settings.terms import Fidelity, Penalty
from napari_unfold.unfolding.fidelity import fidelity_named
from napari_unfold.unfolding.penalty import penalty_named

Positive = Annotated[float, Field(gt=0)]

MAX_COUPLING = 100.0
"""Beyond it a molecule costs nothing where a neighbouring frame has a faint one."""


MIN_WHITENING = 0.01
"""Below it the kernel that whitens would reach too far."""


class Reference(Section):
    """The data to which a set of parameters belongs.

    Attributes
    ----------
    molecule_photons : float
        Photons of a typical molecule in one frame.
    background_photons : float
        Lowest background of a camera pixel.
    norm_squared : float
        ``||A||^2`` of the forward operator.
    point_energy : float
        ``||a||^2`` of the image of one photon.
    """

    molecule_photons: Positive
    background_photons: Positive
    norm_squared: Positive
    point_energy: Positive

    def largest_weight(self, fidelity: Fidelity) -> float:
        """Return the weight above which a lone molecule disappears."""
        light = self.molecule_photons * self.point_energy
        return fidelity_named(fidelity).largest_weight(light, self.background_photons)

    def safe_step(self, fidelity: Fidelity, weight: float) -> float:
        """Return the step size with which the untrained network converges."""
        step = fidelity_named(fidelity).safe_step(self.background_photons, weight)
        return step / self.norm_squared


class NetworkParameters(Section):
    """Parameters of the unfolded network for one fidelity and penalty.

    Attributes
    ----------
    fidelity, penalty : str
        Terms of the energy.
    step_sizes : list of float
        ``alpha_0 .. alpha_{K-1}``; their number is the number of iterations.
    reserve_pixels : float, optional
        If given, steps suit every pixel (`unfolding.metric`), and `step_sizes` are multiples of
        them. Otherwise all pixels have the same steps, as in the paper.
    faint_share : float
        For steps that suit every pixel: the share of one that is dark, as there.
    whitening : float, optional
        If given, the misfit of least squares is whitened (`unfolding.whitening`): the power of
        noise that is reckoned with, beside that of the broadest features.
    schedules : dict of list of float
        For "weight", "inertia" and parameters of the penalty that are not the same in all
        iterations: K factors by which they are multiplied, those of the inertia by which the
        sequence of the paper is.
    weight : float
        Regularisation weight lambda (in photons for the Gaussian fidelity, a number for KL).
    penalty_parameters : dict
        Those the penalty has, by name.
    l1_iterations : int
        Number of first iterations that use the l1 norm, where the penalty would still be blind.
    threshold_photons : float
        Fine pixels below it are empty (the paper's binarization threshold).
    projection_width_photons : float
        Width epsilon of the smoothed projection.
    coupling : float
        How much cheaper molecules are where neighbouring frames have some (`unfolding.coupling`);
        0 leaves frames alone.
    reference : Reference
    """

    fidelity: Fidelity
    penalty: Penalty
    step_sizes: list[Positive] = Field(min_length=1, max_length=5000)
    reserve_pixels: Positive | None = None
    faint_share: float = Field(default=1.0, gt=0, le=1)
    whitening: Annotated[float, Field(ge=MIN_WHITENING)] | None = None
    schedules: dict[str, Annotated[list[Positive], Field(max_length=5000)]] = Field(
        default_factory=dict
    )
    weight: Positive
    penalty_parameters: dict[str, Positive] = Field(default_factory=dict)
    l1_iterations: int = Field(default=0, ge=0)
    threshold_photons: Positive
    projection_width_photons: Positive
    coupling: float = Field(default=0.0, ge=0, le=MAX_COUPLING)
    reference: Reference

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, raw: Any) -> Any:
        """Presets told the penalty by ``p`` of the log-sum penalty, which the l1 norm lacks."""
        if not isinstance(raw, dict) or "penalty" in raw:
            return raw
        bend = raw.get("sparsity_photons")
        terms = {"penalty": "l1"} if bend is None else {
            "penalty": "log-sum", "penalty_parameters": {"bend_photons": bend}
        }  # fmt: skip
        return {**{name: raw[name] for name in raw if name != "sparsity_photons"}, **terms}

    @model_validator(mode="after")
    def _check_penalty(self) -> Self:
        if self.l1_iterations > len(self.step_sizes):
            raise ValueError("more l1 iterations than iterations")
        if self.whitening is not None and not fidelity_named(self.fidelity).whitenings:
            raise ValueError(f"the misfit of the fidelity '{self.fidelity}' cannot be whitened")
        if self.whitening is not None and self.reserve_pixels is None:
            raise ValueError("a whitened misfit needs steps that suit every pixel")
        wanted = set(penalty_named(self.penalty).learnables())
        if set(self.penalty_parameters) != wanted:
            raise ValueError(
                f"the penalty '{self.penalty}' has the parameters {sorted(wanted)}, "
                f"not {sorted(self.penalty_parameters)}"
            )
        for name, factors in self.schedules.items():
            if name not in {"weight", "inertia", *wanted}:
                raise ValueError(f"'{name}' cannot change from iteration to iteration")
            if len(factors) != self.iterations:
                raise ValueError(f"the schedule of '{name}' is not as long as the step sizes")
        return self

    @property
    def iterations(self) -> int:
        """Number of unfolded iterations K."""
        return len(self.step_sizes)

    def without_coupling(self) -> NetworkParameters:
        """Return the parameters of the network that looks at every frame alone."""
        return self.model_copy(update={"coupling": 0.0})

    def rescaled(self, c: float) -> NetworkParameters:
        """Return the parameters for data `c` times as bright.

        Exact: the network applied to ``c y`` and ``c b`` with these parameters returns ``c x``.
        A fidelity of degree d has gradients ``c^(d - 1)`` as large, to which the weight is scaled,
        and steps turn gradients into light; thresholds and widths scale by ``c``.
        """
        degree = fidelity_named(self.fidelity).degree
        old = self.reference
        return self.model_copy(
            update={
                "step_sizes": self._scaled_steps(c ** (2.0 - degree)),
                "weight": c ** (degree - 1.0) * self.weight,
                "penalty_parameters": penalty_named(self.penalty).rescaled(
                    self.penalty_parameters, c
                ),
                "threshold_photons": c * self.threshold_photons,
                "projection_width_photons": c * self.projection_width_photons,
                "reference": old.model_copy(
                    update={
                        "molecule_photons": c * old.molecule_photons,
                        "background_photons": c * old.background_photons,
                    }
                ),
            }
        )

    def _scaled_steps(self, factor: float) -> list[float]:
        """Return the steps times a factor, if they do not follow the data by themselves."""
        if self.reserve_pixels is not None:
            return self.step_sizes
        return [factor * step for step in self.step_sizes]

    def for_data(self, data: Reference) -> NetworkParameters:
        """Return the parameters for other data.

        The brightness of the molecules is accounted for exactly (`rescaled`). For the rest, what
        matters is kept: steps stay the same multiple of the safe step, and the weight the same
        fraction of the one above which a lone molecule disappears.
        """
        same_brightness = self.rescaled(data.molecule_photons / self.reference.molecule_photons)
        old = same_brightness.reference
        scale = data.largest_weight(self.fidelity) / old.largest_weight(self.fidelity)
        weight = scale * same_brightness.weight
        steps = data.safe_step(self.fidelity, weight) / old.safe_step(
            self.fidelity, same_brightness.weight
        )
        return same_brightness.model_copy(
            update={
                "step_sizes": same_brightness._scaled_steps(steps),
                "weight": weight,
                "reference": data,
            }
        )
