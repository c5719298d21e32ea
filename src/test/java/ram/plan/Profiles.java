package ram.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.TreeMap;
import ram.format.Format;
import ram.layout.Architecture;
import ram.layout.Kind;
import ram.layout.Layout;
import ram.metric.Metric;
import ram.profile.CurvePoint;
import ram.profile.ModuleProfile;
import ram.profile.Profile;
import ram.profile.TensorProfile;
import ram.safetensors.DType;
import ram.safetensors.Shape;

/// Made-up analyses with the proportions of real ones.
final class Profiles {
    private final List<ModuleProfile> modules = new ArrayList<>();
    private final List<Profile.PlainTensor> plain = new ArrayList<>();
    private final Random random;

    Profiles(long seed) {
        this.random = new Random(seed);
    }

    /// Relative squared error of a format, near that of Gaussian weights.
    private double error(Format f) {
        double bits = f.mode() == Format.Mode.AFFINE ? f.bits() : f.bits() - 0.2;
        return 2.4 * Math.pow(4, -bits) * Math.pow(f.groupSize() / 64.0, 0.25) * (1 + 0.02 * random.nextGaussian());
    }

    Profiles module(String path, Kind kind, int layer, long... dims) {
        Shape shape = Shape.of(dims);
        List<Format> formats = new ArrayList<>(Format.allAffine());
        formats.addAll(List.of(Format.MXFP4, Format.NVFP4, Format.MXFP8));
        formats.removeIf(f -> !f.fits(shape));
        long experts = dims.length == 3 ? dims[0] : 1;
        List<TensorProfile> tensors = new ArrayList<>();
        List<String> sources = new ArrayList<>();
        for (long e = 0; e < experts; e++) {
            String name = experts == 1 ? path + ".weight" : path.replace("switch_mlp", "experts." + e) + ".weight";
            List<CurvePoint> curve = formats.stream().map(f -> new CurvePoint(f, error(f), 0.01)).toList();
            Map<String, Double> metrics = new TreeMap<>(Map.of(Metric.FROBENIUS.label(), 10 * random.nextDouble(), Metric.MEAN.label(), 0.0, Metric.STD.label(), 0.02,
                    Metric.EXCESS_KURTOSIS.label(), Math.exp(random.nextGaussian()), Metric.SVD_CONCENTRATION.label(), 0.2 + 0.5 * random.nextDouble(),
                    Metric.OUTPUT_NOISE.label(), 0.3 * random.nextDouble(),
                    TensorProfile.ERROR_4_128, 0.09 + 0.02 * random.nextDouble()));
            for (Metric m : Metric.values()) {
                metrics.putIfAbsent(m.label(), 1.0);
            }
            tensors.add(new TensorProfile(name, shape.rows() / experts, shape.columns(), new TreeMap<>(metrics), Math.exp(random.nextGaussian()), new TreeMap<>(Map.of("row", 0.1 + random.nextDouble())), curve));
            sources.add(name);
        }
        List<CurvePoint> curve = new ArrayList<>();
        for (int c = 0; c < formats.size(); c++) {
            double sum = 0;
            for (TensorProfile t : tensors) {
                sum += t.curve().get(c).relativeError() / experts;
            }
            curve.add(new CurvePoint(formats.get(c), sum, 0.01));
        }
        boolean router = kind == Kind.ROUTER;
        modules.add(new ModuleProfile(path, kind, layer, shape, DType.BF16, experts > 1, false, router ? Optional.of(Format.affine(8, 64)) : Optional.empty(), Optional.empty(),
                router ? "layer median" : "propagated", curve, tensors, sources));
        return this;
    }

    Profiles dense(String path, String why, long... dims) {
        modules.add(new ModuleProfile(path, Kind.OTHER, -1, Shape.of(dims), DType.BF16, false, false, Optional.empty(), Optional.of(why), "layer median", List.of(), List.of(
                new TensorProfile(path + ".weight", Shape.of(dims).rows(), Shape.of(dims).columns(), new TreeMap<>(), 0, new TreeMap<>(), List.of())), List.of(path + ".weight")));
        return this;
    }

    Profiles norm(String name, long size) {
        plain.add(new Profile.PlainTensor(name, DType.BF16, Shape.of(size), "norm", List.of(name)));
        return this;
    }

    Profile build(Architecture.Structure structure, int layers) {
        return new Profile("0.1.0", List.of(new Profile.SourceFile("model.safetensors", 123456, "ab".repeat(32), "", "")),
                new Architecture("test", "test", true, structure, false, List.of("nothing")), layers, new TreeMap<>(Map.of("quantizer", "mse", "dtype", "bfloat16")), modules, plain, List.of(),
                List.of(new Layout.Dropped("model.rotary_emb.inv_freq", "MLX computes it")));
    }

    static Profile llama(int layers, int width, boolean tied, long seed) {
        Profiles p = new Profiles(seed).module("model.embed_tokens", Kind.EMBEDDING, -1, 8L * width, width);
        for (int i = 0; i < layers; i++) {
            String l = "model.layers." + i;
            p.module(l + ".self_attn.q_proj", Kind.Q, i, width, width).module(l + ".self_attn.k_proj", Kind.K, i, width / 2, width)
                    .module(l + ".self_attn.v_proj", Kind.V, i, width / 2, width).module(l + ".self_attn.o_proj", Kind.O, i, width, width)
                    .module(l + ".mlp.gate_proj", Kind.GATE, i, 2L * width, width).module(l + ".mlp.down_proj", Kind.DOWN, i, width, 2L * width)
                    .module(l + ".mlp.up_proj", Kind.UP, i, 2L * width, width).norm(l + ".input_layernorm.weight", width).norm(l + ".post_attention_layernorm.weight", width);
        }
        p.norm("model.norm.weight", width);
        if (!tied) {
            p.module("lm_head", Kind.HEAD, -1, 8L * width, width);
        }
        return p.build(Architecture.Structure.DENSE, layers);
    }

    static Profile mixture(int layers, int width, int experts, long seed) {
        Profiles p = new Profiles(seed).module("model.embed_tokens", Kind.EMBEDDING, -1, 8L * width, width);
        for (int i = 0; i < layers; i++) {
            String l = "model.layers." + i;
            p.module(l + ".self_attn.q_proj", Kind.Q, i, width, width).module(l + ".self_attn.k_proj", Kind.K, i, width / 2, width)
                    .module(l + ".self_attn.v_proj", Kind.V, i, width / 2, width).module(l + ".self_attn.o_proj", Kind.O, i, width, width)
                    .module(l + ".mlp.gate", Kind.ROUTER, i, experts, width);
            for (String s : List.of("gate_proj", "up_proj")) {
                p.module(l + ".mlp.switch_mlp." + s, s.equals("up_proj") ? Kind.UP : Kind.GATE, i, experts, width / 2, width);
            }
            p.module(l + ".mlp.switch_mlp.down_proj", Kind.DOWN, i, experts, width, width / 2).norm(l + ".input_layernorm.weight", width);
        }
        return p.module("lm_head", Kind.HEAD, -1, 8L * width, width).dense("model.conv", "MLX has no quantized convolution", 4, width)
                .build(Architecture.Structure.MIXTURE_OF_EXPERTS, layers);
    }
}
