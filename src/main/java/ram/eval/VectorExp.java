package ram.eval;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;
import ram.numeric.VectorSupport;

/// The vector twin of [Exp]: the same operations, so the same bits.
final class VectorExp {
    private static final VectorShape SHAPE = VectorShape.forBitSize(VectorSupport.bits() == 0 ? 128 : VectorSupport.bits());
    private static final VectorSpecies<Float> F = VectorSpecies.of(float.class, SHAPE);

    private VectorExp() {
    }

    /// @return how many of the first elements are done
    static int exp(float[] x, int from, int count, float shift) {
        int i = 0;
        for (; i <= count - F.length(); i += F.length()) {
            FloatVector v = FloatVector.fromArray(F, x, from + i).sub(shift);
            v = v.max(Exp.LOWEST).min(Exp.HIGHEST);
            FloatVector t = v.mul(Exp.LOG2_E).add(Exp.MAGIC);
            FloatVector n = t.sub(Exp.MAGIC);
            FloatVector r = v.sub(n.mul(Exp.LN2_HIGH)).sub(n.mul(Exp.LN2_LOW));
            FloatVector p = r.mul(Exp.C6).add(Exp.C5).mul(r).add(Exp.C4).mul(r).add(Exp.C3).mul(r).add(Exp.C2).mul(r).add(1).mul(r).add(1);
            IntVector power = t.reinterpretAsInts().sub(Exp.MAGIC_BITS - 127).lanewise(VectorOperators.LSHL, 23);
            p.mul(power.reinterpretAsFloats()).intoArray(x, from + i);
        }
        return i;
    }
}
