package ram.format;

import static ram.format.Batch.LANES;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;
import ram.numeric.VectorSupport;
import ram.safetensors.DType;

/// The Vector API twin of [ScalarGroups].
final class VectorGroups implements GroupKernel {
    private static final VectorShape SHAPE = VectorShape.forBitSize(VectorSupport.bits() == 0 ? 128 : VectorSupport.bits());
    private static final VectorSpecies<Float> F = VectorSpecies.of(float.class, SHAPE);
    private static final VectorSpecies<Integer> I = VectorSpecies.of(int.class, SHAPE);
    private static final int VL = F.length();
    /// Bits of 2²³.
    private static final int RAISED_ZERO = Float.floatToRawIntBits(ROUNDER);

    @Override
    public void range(Batch b) {
        float[] w = b.w;
        for (int l = 0; l < LANES; l += VL) {
            FloatVector low = FloatVector.fromArray(F, w, l);
            FloatVector high = low;
            for (int i = LANES + l; i < w.length; i += LANES) {
                FloatVector v = FloatVector.fromArray(F, w, i);
                low = low.blend(v, v.compare(VectorOperators.LT, low));
                high = high.blend(v, v.compare(VectorOperators.GT, high));
            }
            low.intoArray(b.low, l);
            high.intoArray(b.high, l);
        }
    }

    @Override
    public void residual(Batch b, int maxCode) {
        if (b.uniform) {
            uniformResidual(b, maxCode);
            return;
        }
        float[] w = b.w;
        float[] importance = b.importance;
        IntVector max = IntVector.broadcast(I, RAISED_ZERO + maxCode);
        IntVector least = IntVector.broadcast(I, RAISED_ZERO);
        FloatVector zero = FloatVector.zero(F);
        for (int l = 0; l < LANES; l += VL) {
            FloatVector codeScale = FloatVector.fromArray(F, b.codeScale, l);
            FloatVector codeBias = FloatVector.fromArray(F, b.codeBias, l);
            FloatVector scale = FloatVector.fromArray(F, b.scale, l);
            FloatVector bias = FloatVector.fromArray(F, b.bias, l);
            FloatVector unit = FloatVector.fromArray(F, b.unit, l);
            FloatVector error = zero;
            FloatVector weighted = zero;
            for (int i = l; i < w.length; i += LANES) {
                FloatVector v = FloatVector.fromArray(F, w, i);
                FloatVector q = Inlined.raised(v.sub(codeBias).div(codeScale), max, least).sub(ROUNDER);
                FloatVector r = v.sub(q.mul(scale).add(bias)).mul(unit);
                FloatVector rr = r.mul(r);
                error = error.add(rr);
                weighted = rr.fma(FloatVector.fromArray(F, importance, i), weighted);
            }
            error.intoArray(b.error, l);
            weighted.intoArray(b.weightedError, l);
        }
    }

    @Override
    public void pack(Batch b, int bits) {
        float[] w = b.w;
        int maxCode = (1 << bits) - 1;
        IntVector max = IntVector.broadcast(I, RAISED_ZERO + maxCode);
        IntVector least = IntVector.broadcast(I, RAISED_ZERO);
        for (int l = 0; l < LANES; l += VL) {
            FloatVector codeScale = FloatVector.fromArray(F, b.codeScale, l);
            FloatVector codeBias = FloatVector.fromArray(F, b.codeBias, l);
            IntVector word = IntVector.zero(I);
            int at = l;
            int shift = 0;
            for (int i = l; i < w.length; i += LANES) {
                FloatVector x = FloatVector.fromArray(F, w, i).sub(codeBias).div(codeScale);
                IntVector q = Inlined.raised(x, max, least).reinterpretAsInts().and(maxCode);
                word = word.or(q.lanewise(VectorOperators.LSHL, shift));
                shift += bits;
                if (shift >= 32) {
                    word.intoArray(b.words, at);
                    at += LANES;
                    shift -= 32;
                    // what the word had no room for; a shift by 32 would be one by 0
                    word = shift == 0 ? IntVector.zero(I) : q.lanewise(VectorOperators.LSHR, bits - shift);
                }
            }
        }
    }

    @Override
    public void score(Batch b, int maxCode) {
        if (b.uniform) {
            uniformScore(b, maxCode);
            return;
        }
        float[] w = b.w;
        float[] importance = b.importance;
        IntVector max = IntVector.broadcast(I, RAISED_ZERO + maxCode);
        IntVector least = IntVector.broadcast(I, RAISED_ZERO);
        FloatVector zero = FloatVector.zero(F);
        for (int l = 0; l < LANES; l += VL) {
            FloatVector scale = FloatVector.fromArray(F, b.trialScale, l);
            FloatVector bias = FloatVector.fromArray(F, b.trialBias, l);
            FloatVector inverse = FloatVector.fromArray(F, b.trialInverse, l);
            FloatVector unit = FloatVector.fromArray(F, b.unit, l);
            FloatVector weighted = zero;
            for (int i = l; i < w.length; i += LANES) {
                FloatVector v = FloatVector.fromArray(F, w, i);
                FloatVector q = Inlined.raised(v.sub(bias).mul(inverse), max, least).sub(ROUNDER);
                FloatVector r = v.sub(q.mul(scale).add(bias)).mul(unit);
                weighted = r.mul(FloatVector.fromArray(F, importance, i)).fma(r, weighted);
            }
            weighted.intoArray(b.trialError, l);
        }
    }

    @Override
    public void fit(Batch b, int maxCode) {
        if (b.uniform) {
            uniformFit(b, maxCode);
            return;
        }
        float[] w = b.w;
        float[] importance = b.importance;
        IntVector max = IntVector.broadcast(I, RAISED_ZERO + maxCode);
        IntVector least = IntVector.broadcast(I, RAISED_ZERO);
        FloatVector zero = FloatVector.zero(F);
        for (int l = 0; l < LANES; l += VL) {
            FloatVector scale = FloatVector.fromArray(F, b.trialScale, l);
            FloatVector bias = FloatVector.fromArray(F, b.trialBias, l);
            FloatVector inverse = FloatVector.fromArray(F, b.trialInverse, l);
            FloatVector unit = FloatVector.fromArray(F, b.unit, l);
            FloatVector weighted = zero;
            FloatVector s1 = zero;
            FloatVector sq = zero;
            FloatVector sqq = zero;
            FloatVector sr = zero;
            FloatVector sqr = zero;
            for (int i = l; i < w.length; i += LANES) {
                FloatVector v = FloatVector.fromArray(F, w, i);
                FloatVector c = FloatVector.fromArray(F, importance, i);
                FloatVector q = Inlined.raised(v.sub(bias).mul(inverse), max, least).sub(ROUNDER);
                FloatVector r = v.sub(q.mul(scale).add(bias)).mul(unit);
                FloatVector cr = r.mul(c);
                FloatVector cq = q.mul(c);
                weighted = cr.fma(r, weighted);
                s1 = s1.add(c);
                sq = sq.add(cq);
                sqq = cq.fma(q, sqq);
                sr = sr.add(cr);
                sqr = cr.fma(q, sqr);
            }
            weighted.intoArray(b.trialError, l);
            s1.intoArray(b.sum1, l);
            sq.intoArray(b.sumQ, l);
            sqq.intoArray(b.sumQQ, l);
            sr.intoArray(b.sumR, l);
            sqr.intoArray(b.sumQR, l);
        }
    }

    /// As [#residual] with an importance of 1, which changes no bit.
    private static void uniformResidual(Batch b, int maxCode) {
        float[] w = b.w;
        IntVector max = IntVector.broadcast(I, RAISED_ZERO + maxCode);
        IntVector least = IntVector.broadcast(I, RAISED_ZERO);
        FloatVector zero = FloatVector.zero(F);
        for (int l = 0; l < LANES; l += VL) {
            FloatVector codeScale = FloatVector.fromArray(F, b.codeScale, l);
            FloatVector codeBias = FloatVector.fromArray(F, b.codeBias, l);
            FloatVector scale = FloatVector.fromArray(F, b.scale, l);
            FloatVector bias = FloatVector.fromArray(F, b.bias, l);
            FloatVector unit = FloatVector.fromArray(F, b.unit, l);
            FloatVector error = zero;
            for (int i = l; i < w.length; i += LANES) {
                FloatVector v = FloatVector.fromArray(F, w, i);
                FloatVector q = Inlined.raised(v.sub(codeBias).div(codeScale), max, least).sub(ROUNDER);
                FloatVector r = v.sub(q.mul(scale).add(bias)).mul(unit);
                error = error.add(r.mul(r));
            }
            error.intoArray(b.error, l);
            error.intoArray(b.weightedError, l);
        }
    }

    /// As [#score] with an importance of 1.
    private static void uniformScore(Batch b, int maxCode) {
        float[] w = b.w;
        IntVector max = IntVector.broadcast(I, RAISED_ZERO + maxCode);
        IntVector least = IntVector.broadcast(I, RAISED_ZERO);
        FloatVector zero = FloatVector.zero(F);
        for (int l = 0; l < LANES; l += VL) {
            FloatVector scale = FloatVector.fromArray(F, b.trialScale, l);
            FloatVector bias = FloatVector.fromArray(F, b.trialBias, l);
            FloatVector inverse = FloatVector.fromArray(F, b.trialInverse, l);
            FloatVector unit = FloatVector.fromArray(F, b.unit, l);
            FloatVector sum = zero;
            for (int i = l; i < w.length; i += LANES) {
                FloatVector v = FloatVector.fromArray(F, w, i);
                FloatVector q = Inlined.raised(v.sub(bias).mul(inverse), max, least).sub(ROUNDER);
                FloatVector r = v.sub(q.mul(scale).add(bias)).mul(unit);
                sum = r.fma(r, sum);
            }
            sum.intoArray(b.trialError, l);
        }
    }

    /// As [#fit] with an importance of 1.
    private static void uniformFit(Batch b, int maxCode) {
        float[] w = b.w;
        IntVector max = IntVector.broadcast(I, RAISED_ZERO + maxCode);
        IntVector least = IntVector.broadcast(I, RAISED_ZERO);
        FloatVector zero = FloatVector.zero(F);
        for (int l = 0; l < LANES; l += VL) {
            FloatVector scale = FloatVector.fromArray(F, b.trialScale, l);
            FloatVector bias = FloatVector.fromArray(F, b.trialBias, l);
            FloatVector inverse = FloatVector.fromArray(F, b.trialInverse, l);
            FloatVector unit = FloatVector.fromArray(F, b.unit, l);
            FloatVector sum = zero;
            FloatVector sq = zero;
            FloatVector sqq = zero;
            FloatVector sr = zero;
            FloatVector sqr = zero;
            for (int i = l; i < w.length; i += LANES) {
                FloatVector v = FloatVector.fromArray(F, w, i);
                FloatVector q = Inlined.raised(v.sub(bias).mul(inverse), max, least).sub(ROUNDER);
                FloatVector r = v.sub(q.mul(scale).add(bias)).mul(unit);
                sum = r.fma(r, sum);
                sq = sq.add(q);
                sqq = q.fma(q, sqq);
                sr = sr.add(r);
                sqr = r.fma(q, sqr);
            }
            sum.intoArray(b.trialError, l);
            FloatVector.broadcast(F, b.groupSize).intoArray(b.sum1, l);
            sq.intoArray(b.sumQ, l);
            sqq.intoArray(b.sumQQ, l);
            sr.intoArray(b.sumR, l);
            sqr.intoArray(b.sumQR, l);
        }
    }

    @Override
    public void start(Batch b, float lowCut, float highCut, int maxCode, DType stored) {
        for (int l = 0; l < LANES; l += VL) {
            FloatVector from = FloatVector.fromArray(F, b.low, l);
            FloatVector to = FloatVector.fromArray(F, b.high, l);
            FloatVector low = from.mul(1 - lowCut).add(to.mul(lowCut));
            FloatVector high = to.mul(1 - highCut).add(from.mul(highCut));
            FloatVector scale = Inlined.rounded(stored, high.div(maxCode).sub(low.div(maxCode)));
            FloatVector bias = Inlined.rounded(stored, low.mul(0.5f).add(high.mul(0.5f)).sub(scale.mul(0.5f * maxCode)));
            Inlined.tryOut(b, l, scale, bias);
        }
    }

    @Override
    public void keepBetter(Batch b) {
        for (int l = 0; l < LANES; l += VL) {
            FloatVector error = FloatVector.fromArray(F, b.trialError, l);
            FloatVector best = FloatVector.fromArray(F, b.bestError, l);
            VectorMask<Float> better = error.compare(VectorOperators.LT, best);
            best.blend(error, better).intoArray(b.bestError, l);
            FloatVector.fromArray(F, b.bestScale, l).blend(FloatVector.fromArray(F, b.trialScale, l), better).intoArray(b.bestScale, l);
            FloatVector.fromArray(F, b.bestBias, l).blend(FloatVector.fromArray(F, b.trialBias, l), better).intoArray(b.bestBias, l);
        }
    }

    @Override
    public void refit(Batch b, DType stored) {
        for (int l = 0; l < LANES; l += VL) {
            FloatVector n = FloatVector.fromArray(F, b.sum1, l);
            FloatVector sq = FloatVector.fromArray(F, b.sumQ, l);
            FloatVector sr = FloatVector.fromArray(F, b.sumR, l);
            FloatVector unit = FloatVector.fromArray(F, b.unit, l);
            FloatVector determinant = n.mul(FloatVector.fromArray(F, b.sumQQ, l)).sub(sq.mul(sq));
            FloatVector old = FloatVector.fromArray(F, b.trialScale, l);
            FloatVector oldBias = FloatVector.fromArray(F, b.trialBias, l);
            FloatVector step = n.mul(FloatVector.fromArray(F, b.sumQR, l)).sub(sq.mul(sr)).div(determinant).div(unit);
            FloatVector scale = old.blend(Inlined.rounded(stored, old.add(step)), determinant.compare(VectorOperators.GT, 0));
            FloatVector shift = sr.div(unit).sub(scale.sub(old).mul(sq)).div(n);
            FloatVector bias = oldBias.blend(Inlined.rounded(stored, oldBias.add(shift)), n.compare(VectorOperators.GT, 0));
            Inlined.tryOut(b, l, scale, bias);
        }
    }

    /// Parts of kernels, in a class of their own: scripts/ram has kernels called and never inlined, but a vector that is an argument or a result is an object wherever
    /// a method that has one is called.
    private static final class Inlined {
        /// Moved up by 2²³, which rounds, and then clamped to the codes, which are the low bits. As integers floats of one sign have the same order, and the least and
        /// the largest of integers are one instruction each, where those of floats have rules for NaN and negative zero.
        static FloatVector raised(FloatVector x, IntVector maxCode, IntVector zero) {
            return x.add(ROUNDER).reinterpretAsInts().max(zero).min(maxCode).reinterpretAsFloats();
        }

        static void tryOut(Batch b, int l, FloatVector scale, FloatVector bias) {
            scale.intoArray(b.trialScale, l);
            bias.intoArray(b.trialBias, l);
            FloatVector one = FloatVector.broadcast(F, 1);
            FloatVector.zero(F).blend(one.div(scale), magnitude(scale).compare(VectorOperators.GT, SMALLEST_INVERTED)).intoArray(b.trialInverse, l);
        }

        static FloatVector magnitude(FloatVector v) {
            return v.reinterpretAsInts().and(0x7fffffff).reinterpretAsFloats();
        }

        /// See [ScalarGroups#rounded].
        static FloatVector rounded(DType stored, FloatVector v) {
            return switch (stored) {
                case BF16 -> {
                    IntVector bits = v.reinterpretAsInts();
                    yield bits.add(0x7fff).add(bits.lanewise(VectorOperators.LSHR, 16).and(1)).and(0xffff0000).reinterpretAsFloats();
                }
                case F16 -> {
                    FloatVector m = magnitude(v);
                    m = m.blend(MAX_FLOAT16, m.compare(VectorOperators.GT, MAX_FLOAT16));
                    IntVector bits = m.reinterpretAsInts();
                    FloatVector normal = bits.add(0xfff).add(bits.lanewise(VectorOperators.LSHR, 13).and(1)).and(0xffffe000).reinterpretAsFloats();
                    FloatVector nearest = normal.blend(m.add(0.5f).sub(0.5f), m.compare(VectorOperators.LT, 0x1p-14f));
                    yield nearest.reinterpretAsInts().or(v.reinterpretAsInts().and(0x80000000)).reinterpretAsFloats();
                }
                default -> v;
            };
        }
    }
}
