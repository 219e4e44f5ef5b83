"""The spinal canal: sac, cord, roots and lesions, painted with partial volume.

Only the pixels near the canal are painted, as a list, at several places across
each slice; the mean over these places is the slice.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spinaldx.records import Float32Array
from spinaldx.simulation.bodies import Body
from spinaldx.simulation.fields import ellipse_depth_mm, soft_line, soft_step
from spinaldx.simulation.frame import Frame
from spinaldx.simulation.lesions import Lesions, Points, depth_mm, waves
from spinaldx.simulation.spine import CORD_TOP_MM, Spine
from spinaldx.simulation.tissues import Tissues
from spinaldx.simulation.variation import Variation, bulge_mm

# Places across a slice lie at most this far apart.
_FINEST_STEP_MM = 0.9

# The canal is drawn down from here; above it the brainstem is.
_TOP_MM = -34.0


@dataclass(frozen=True, slots=True, eq=False)
class CanalSlice:
    """What one slice shows of the canal, for the pixels of `CanalPainter.pixels`.

    Attributes:
        alpha: Share of each pixel inside the canal, (N,) float32.
        value: Brightness of that share, times alpha, (N,) float32.
        cord: Share inside the cord, lesions included, (N,) float32.
        lesion: Share inside any lesion, (N,) float32.
    """

    alpha: Float32Array
    value: Float32Array
    cord: Float32Array
    lesion: Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class _Pixels:
    """Tables of the spine at the canal's pixels, (N,) float32 each."""

    s: Float32Array
    p: Float32Array
    shift: Float32Array
    sac_front: Float32Array
    sac_back: Float32Array
    sac_u: Float32Array
    front_fat: Float32Array
    back_fat: Float32Array
    cord_p: Float32Array
    cord_u: Float32Array
    cord_shift: Float32Array


class CanalPainter:
    """Paints the canal of one station, slice by slice.

    Attributes:
        pixels: Flat indices into (H, W) of the pixels near the canal.
    """

    def __init__(
        self,
        frame: Frame,
        spine: Spine,
        lesions: Lesions,
        tissues: Tissues,
        variation: Variation,
    ) -> None:
        self._frame = frame
        self._spine = spine
        self._tissues = tissues
        self._variation = variation
        self._edge_mm = max(frame.plan.pixel_mm, 0.5)
        s, p = frame.s.ravel(), frame.p.ravel()
        reach = spine.at(spine.sac_p, s) + 1.5
        front = reach + spine.at(spine.front_fat, s)
        back = reach + spine.at(spine.back_fat, s)
        near = (p > -front) & (p < back) & (s > _TOP_MM)
        self.pixels = np.flatnonzero(near)
        self._at = self._look_up(s[near], p[near], frame.shift.ravel()[near])
        low, high = (
            (float(self._at.s.min()), float(self._at.s.max()))
            if self.pixels.size
            else (0.0, 0.0)
        )
        self._bodies = tuple(
            body
            for body in lesions.bodies
            if body.centre_mm + body.half_mm > low - 5
            and body.centre_mm - body.half_mm < high + 5
        )
        self._widest = float(spine.sac_u.max()) + 4

    def _look_up(
        self, s: Float32Array, p: Float32Array, shift: Float32Array
    ) -> _Pixels:
        spine, variation = self._spine, self._variation
        sac_p = spine.at(spine.sac_p, s)
        front = np.maximum(sac_p - bulge_mm(spine, variation.disc_bulge, s), 1.5)
        back = np.maximum(sac_p - bulge_mm(spine, variation.flavum_bulge, s), 1.5)
        return _Pixels(
            s=s,
            p=p,
            shift=shift,
            sac_front=front,
            sac_back=back,
            sac_u=spine.at(spine.sac_u, s),
            front_fat=spine.at(spine.front_fat, s) + (sac_p - front) * np.float32(0.2),
            back_fat=spine.at(spine.back_fat, s) + (sac_p - back) * np.float32(0.2),
            cord_p=spine.at(spine.cord_p, s),
            cord_u=spine.at(spine.cord_u, s),
            cord_shift=spine.at(spine.cord_shift, s),
        )

    def places(self) -> list[float]:
        """Offsets across a slice at which the canal is painted, mm."""
        thickness = self._frame.plan.thickness_mm
        count = max(round(thickness / _FINEST_STEP_MM), 1)
        return [((i + 0.5) / count - 0.5) * thickness for i in range(count)]

    def paint(self, slice_x: float) -> CanalSlice | None:
        """Paint one slice; None when the canal lies outside of it."""
        at = self._at
        if (
            not self.pixels.size
            or float(np.abs(slice_x - at.shift).min()) > self._widest
        ):
            return None
        places = self.places()
        total = np.zeros((4, *at.s.shape), dtype=np.float32)
        for place in places:
            total += self._paint_at(np.float32(slice_x + place) - at.shift)
        alpha, value, cord, lesion = total / np.float32(len(places))
        return CanalSlice(alpha, value, cord, lesion)

    def _paint_at(self, u: Float32Array) -> Float32Array:
        at, tissues, edge = self._at, self._tissues, self._edge_mm
        is_front = at.p < 0
        sac_p = np.where(is_front, at.sac_front, at.sac_back)
        fat_mm = np.where(is_front, at.front_fat, at.back_fat)
        sac_depth = ellipse_depth_mm(at.p, u, sac_p, at.sac_u)
        wall_depth = ellipse_depth_mm(at.p, u, sac_p + fat_mm, at.sac_u + 1.5)
        alpha = soft_step(wall_depth, edge)
        sac = soft_step(sac_depth, edge)
        value = self._epidural(is_front)
        dura = soft_line(sac_depth, 0.8) * np.float32(self._variation.dura)
        value += dura * (np.float32(tissues.ligament) - value)
        value += sac * (self._fluid(u) - value)
        points = Points(at.s, at.p - at.cord_shift, u)
        cord = self._cord_share(points) * sac
        value += cord * (self._cord_value(points) - value)
        lesion = np.zeros_like(cord)
        for body in self._bodies:
            self._paint_body(body, points, (value, cord, lesion))
        fades = soft_step(at.s - np.float32(_TOP_MM + 5), 10.0)
        alpha = alpha * fades
        labelled = cord * (at.s > CORD_TOP_MM)
        return np.stack([alpha, value * alpha, labelled, lesion])

    def _epidural(self, is_front: NDArray[np.bool_]) -> Float32Array:
        variation, tissues = self._variation, self._tissues
        share = np.where(is_front, variation.front_fat, variation.back_fat)
        dark = np.float32(tissues.ligament * 1.5)
        return np.asarray(dark + (tissues.fat - dark) * share, dtype=np.float32)

    def _fluid(self, u: Float32Array) -> Float32Array:
        at, variation = self._at, self._variation
        fluid = np.full(at.s.shape, self._tissues.csf, dtype=np.float32)
        if variation.flow > 0:
            look = variation.flow_look
            void = np.clip(waves(look, Points(at.s, at.p, u)) - 0.55, 0, 1)
            fluid *= 1 - np.float32(variation.flow) * void
        roots = self._root_share(u)
        fluid += roots * (np.float32(self._tissues.roots) - fluid)
        return fluid

    def _root_share(self, u: Float32Array) -> Float32Array:
        """Coverage by rootlets beside the cord and by the cauda equina."""
        at = self._at
        share = np.zeros(at.s.shape, dtype=np.float32)
        low = np.flatnonzero(at.s > self._spine.conus_mm - 45)
        if low.size:
            share[low] = self._variation.cauda_share(
                at.s[low] - np.float32(self._spine.conus_mm),
                at.p[low] / np.maximum(at.sac_back[low], 1),
                u[low] / np.maximum(at.sac_u[low], 1),
                self._edge_mm,
            )
        beside = np.abs(np.abs(u) - at.cord_u - 1.5) < 1.6
        strand = np.cos((at.s * 1.0 + np.abs(u) * 2.0) * 0.55) > 0.72
        share += np.float32(self._variation.rootlets) * (
            beside & strand & (at.cord_p > 2)
        )
        return np.minimum(share, 1)

    def _cord_share(self, points: Points) -> Float32Array:
        at = self._at
        radius_p = np.maximum(at.cord_p, np.float32(0.2))
        radius_u = np.maximum(at.cord_u, np.float32(0.2))
        depth = ellipse_depth_mm(points.p, points.u, radius_p, radius_u)
        return soft_step(depth, self._edge_mm) * (at.cord_p > 0.3)

    def _cord_value(self, points: Points) -> Float32Array:
        at, tissues, variation = self._at, self._tissues, self._variation
        radius_p = np.maximum(at.cord_p, np.float32(0.5))
        radius_u = np.maximum(at.cord_u, np.float32(0.5))
        grey = np.hypot(
            points.p / (radius_p * np.float32(0.42)),
            points.u / (radius_u * np.float32(0.5)),
        )
        value = 1 + np.float32(tissues.grey - 1) * np.clip(1.5 - grey, 0, 1)
        for look in (variation.cord_look, variation.stripe_look):
            if look.texture > 0.01:
                value *= 1 + np.float32(look.texture) * waves(look, points)
        if variation.central_canal_mm > 0:
            near = np.hypot(points.p, points.u * 0.7)
            line = np.clip(variation.central_canal_mm / 2 - near + 0.5, 0, 1)
            inside = soft_step(
                np.float32(variation.central_canal_half_mm)
                - np.abs(at.s - np.float32(variation.central_canal_at)),
                6.0,
            )
            line = line * inside * np.float32(variation.central_canal_share)
            value += line * (np.float32(tissues.csf) - value)
        return np.asarray(value, dtype=np.float32)

    def _paint_body(
        self,
        body: Body,
        points: Points,
        layers: tuple[Float32Array, Float32Array, Float32Array],
    ) -> None:
        value, cord, lesion = layers
        beyond = 0.5 * max(body.margin_mm, body.fade_mm) + 1.0
        near = np.flatnonzero(
            (np.abs(points.s - body.centre_mm) < body.half_mm + beyond)
            & (cord > 0)
            & (np.abs(points.u - body.u_mm) < body.radius_u * 1.7 + beyond)
        )
        if not near.size:
            return
        local = Points(points.s[near], points.p[near], points.u[near])
        wave = waves(body.look, local)
        # A body that fades is longer by half of that, and as good as gone there.
        longer = replace(body, half_mm=body.half_mm + body.fade_mm / 2)
        depth = depth_mm(longer, local, wave)
        to_end = np.float32(body.half_mm) - np.abs(local.s - np.float32(body.centre_mm))
        # Not wider than the body itself: a faint rim must not eat a small plaque.
        width = min(body.margin_mm, 0.8 * min(body.radius_p, body.radius_u) + 0.3)
        share = soft_step(depth, max(width, self._edge_mm)) * cord[near]
        if body.fade_mm > 0:
            share *= soft_step(to_end, body.fade_mm)
        rough = np.sin(2.3 * wave + local.s * 0.21) * wave
        contrast = np.float32(body.ratio - 1) * (
            1 + np.float32(body.look.texture) * rough
        )
        painted = np.maximum(1 + contrast, np.float32(0.05))
        value[near] += share * (painted - value[near])
        inside = soft_step(np.minimum(depth, to_end), self._edge_mm) * cord[near]
        lesion[near] = np.maximum(lesion[near], inside)
