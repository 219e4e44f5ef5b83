"""From brightness to an image: coil, k-space, noise, ghosts, scale."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from spinaldx.records import Float32Array
from spinaldx.simulation.fields import smooth_noise, soft_step
from spinaldx.simulation.frame import Frame

# Log of the pixel that is really acquired, mean and spread: 0.65 to 1.3 mm mostly.
_LOG_ACQUIRED_MM = (float(np.log(0.92)), 0.18)
_LEAST_SHARE = 0.35


@dataclass(frozen=True, slots=True)
class Scan:
    """How one station is acquired.

    Attributes:
        noise: Standard deviation before coil weighting, cord = 1.
        resolution: Acquired share of k-space along rows and columns.
        apodisation: 0 sharp cut-off with ringing, 1 smooth.
        phase_rows: Whether phase encoding runs along the rows.
        ghost: Strength of ghosts of moving tissue.
        ghost_shift: Where they appear, share of the field.
        coil_mm: Depth at which the surface coil has lost half; 0 for none.
        coil_floor: Sensitivity that remains far from the coil.
        ends: Where sensitivity falls off at head and foot, share of the height.
        drift: Strength of slow random bias.
        band: Depth before the spine from which a saturation band darkens; 0 none.
        band_keeps: What the band leaves.
        gain: Vendor's scale: grey values of normal cord.
        blur_mm: Extra blur, for motion.
    """

    noise: float
    resolution: tuple[float, float]
    apodisation: float
    phase_rows: bool
    ghost: float
    ghost_shift: float
    coil_mm: float
    coil_floor: float
    ends: tuple[float, float]
    drift: float
    band: float
    band_keeps: float
    gain: float
    blur_mm: float


def draw_scan(rng: np.random.Generator, noise_factor: float, pixel_mm: float) -> Scan:
    """Draw the acquisition of one station.

    Args:
        rng: Source of chance.
        noise_factor: Noise relative to what would have been drawn.
        pixel_mm: Edge of a pixel of the image; smaller ones than were acquired are
            interpolated.
    """
    uses_coil = rng.random() < 0.6
    acquired_mm = np.exp(rng.normal(*_LOG_ACQUIRED_MM, 2))
    shares = np.clip(pixel_mm / acquired_mm, _LEAST_SHARE, 1.0)
    fades = rng.random(2) < 0.4
    ends = np.where(fades, rng.uniform(0.05, 0.35, 2), 0.0)
    return Scan(
        noise=float(min(np.exp(rng.normal(np.log(0.08), 0.5)), 0.24)) * noise_factor,
        resolution=(float(shares[0]), float(shares[1])),
        # Few scanners filter much of their edges away.
        apodisation=float(rng.uniform(0, 1) ** 2),
        phase_rows=bool(rng.random() < 0.6),
        ghost=float(rng.uniform(0.01, 0.08)) if rng.random() < 0.25 else 0.0,
        ghost_shift=float(rng.uniform(0.1, 0.5)),
        coil_mm=float(np.exp(rng.uniform(np.log(25), np.log(140)))) if uses_coil else 0,
        coil_floor=float(rng.uniform(0.01, 0.3)),
        ends=(float(ends[0]), float(ends[1])),
        drift=float(rng.uniform(0.0, 0.35)),
        band=float(rng.uniform(2, 40)) if rng.random() < 0.35 else 0.0,
        band_keeps=float(rng.uniform(0.03, 0.5)),
        gain=float(np.exp(rng.uniform(np.log(40), np.log(900)))),
        blur_mm=float(rng.uniform(0.4, 1.4)) if rng.random() < 0.2 else 0.0,
    )


def draw_bias(
    rng: np.random.Generator, scan: Scan, frame: Frame, ahead: Float32Array
) -> Float32Array:
    """Sensitivity over a station's pixels, about 1 at the canal, (H, W) float32."""
    shape = frame.s.shape
    bias = np.ones(shape, dtype=np.float32)
    if scan.coil_mm > 0:
        # The elements lie under the back, some 6 cm behind the canal.
        far = np.maximum(65 - frame.depth, 0)
        falls = 1 / (1 + (far / np.float32(scan.coil_mm + 25)) ** 2)
        bias *= falls * (1 - scan.coil_floor) + scan.coil_floor
    rows = np.linspace(0, 1, shape[0], dtype=np.float32)
    for end, place in zip(scan.ends, (rows, 1 - rows), strict=True):
        if end > 0:
            fade = 1 / (1 + np.exp(-(place - np.float32(end * 0.6)) / (end * 0.3)))
            bias *= (0.08 + 0.92 * fade).astype(np.float32)[:, None]
    if scan.band > 0:
        # The band's edge is a plane before the column, parallel to it.
        dark = soft_step(ahead - np.float32(30 + scan.band), 14.0)
        bias *= 1 - np.float32(1 - scan.band_keeps) * dark
    slow = smooth_noise(rng, shape, (shape[0] / 2.5, shape[1] / 2.5))
    bias *= np.exp(np.float32(scan.drift) * slow)
    canal = np.abs(frame.p) < 5
    level = float(np.median(bias[canal])) if canal.any() else 1.0
    scaled: Float32Array = bias / np.float32(max(level, 1e-3))
    return scaled


def acquire(
    rng: np.random.Generator,
    scan: Scan,
    stack: Float32Array,
    bias: Float32Array,
    pixel_mm: float,
) -> Float32Array:
    """Acquire a stack: k-space window, noise in it, magnitude, vendor's scale.

    Args:
        rng: Source of chance.
        scan: What to do.
        stack: Ideal slices, (S, H, W) float32, cord = 1.
        bias: Sensitivity, (H, W) float32.
        pixel_mm: Edge of a pixel.

    Returns:
        Magnitudes, (S, H, W) float32, not negative.
    """
    window = _window(scan, stack.shape[1:], pixel_mm)
    # Noise keeps its spread in the image whatever share of k-space is read.
    passed = float(np.sqrt(np.mean(window**2)))
    sigma = np.float32(scan.noise / max(passed, 1e-3))
    images = np.empty_like(stack)
    for number, ideal in enumerate(stack):
        signal = ideal * bias
        noisy = signal + sigma * rng.standard_normal(signal.shape, dtype=np.float32)
        quadrature = sigma * rng.standard_normal(signal.shape, dtype=np.float32)
        spectrum = fft.fft2(noisy + 1j * quadrature)
        spectrum *= window
        if scan.ghost > 0:
            spectrum = _modulate(spectrum, scan)
        images[number] = np.abs(fft.ifft2(spectrum))
    return np.asarray(images * np.float32(scan.gain), dtype=np.float32)


def _window(scan: Scan, shape: tuple[int, ...], pixel_mm: float) -> Float32Array:
    axes = []
    for size, share in zip(shape, scan.resolution, strict=True):
        frequency = np.abs(np.fft.fftfreq(size)) * 2 / share
        inside = (frequency <= 1).astype(np.float32)
        smooth = np.cos(np.minimum(frequency, 1) * np.pi / 2) ** 2
        taper = inside * (1 - scan.apodisation) + smooth * scan.apodisation
        blur = scan.blur_mm / pixel_mm
        gauss = np.exp(-2 * (np.pi * blur * 0.42 * np.fft.fftfreq(size)) ** 2)
        axes.append((taper * gauss).astype(np.float32))
    return np.outer(axes[0], axes[1]).astype(np.float32)


def _modulate(spectrum: np.ndarray, scan: Scan) -> np.ndarray:
    """Periodic motion: phase-encoding lines differ in strength."""
    axis = 0 if scan.phase_rows else 1
    size = spectrum.shape[axis]
    lines = 1 + 2 * scan.ghost * np.cos(2 * np.pi * scan.ghost_shift * np.arange(size))
    shape = (size, 1) if axis == 0 else (1, size)
    modulated: np.ndarray = spectrum * lines.astype(np.float32).reshape(shape)
    return modulated
