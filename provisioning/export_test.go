package provisioning

import "golang.org/x/crypto/bcrypt"

// NoPassword is what a login without a party is compared with.
const NoPassword = noPassword

// PasswordCost is that of new hashes.
const PasswordCost = passwordCost

// OnCheck has f called at each slow comparison of a password, instead of it where
// no password matches.
func (s *Server) OnCheck(f func(hash []byte)) {
	s.passwords.compare = func(hash, password []byte) error {
		if f(hash); string(hash) == noPassword {
			return bcrypt.ErrMismatchedHashAndPassword
		}
		return bcrypt.CompareHashAndPassword(hash, password)
	}
}
