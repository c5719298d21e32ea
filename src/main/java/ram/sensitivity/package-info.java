/// How far an error in a module reaches: powers of activations propagated through the network from the weights alone, in nats per squared error.
package ram.sensitivity;
