// The objectives of ADBench, plainly written: what the gradients are measured against. Built by adbench.py.
#include <algorithm>
#include <cmath>
#include <vector>

static double log_sum_exp(const double* x, int n) {
    double m = *std::max_element(x, x + n), sum = 0;
    for (int i = 0; i < n; i++) sum += std::exp(x[i] - m);
    return m + std::log(sum);
}

extern "C" double mixture(int n, int d, int k, const double* alphas, const double* means, const double* icf,
                          const double* x, double gamma, double m) {
    const int packed = d * (d + 1) / 2;
    std::vector<double> diagonal(k * d), log_det(k), centred(d), product(d), terms(k);
    double squares = 0, all = 0, fit = 0;
    for (int c = 0; c < k; c++) {
        for (int i = 0; i < d; i++) {
            double q = icf[c * packed + i];
            diagonal[c * d + i] = std::exp(q);
            log_det[c] += q;
            squares += diagonal[c * d + i] * diagonal[c * d + i];
        }
        for (int i = d; i < packed; i++) squares += icf[c * packed + i] * icf[c * packed + i];
        all += log_det[c];
    }
    for (int p = 0; p < n; p++) {
        for (int c = 0; c < k; c++) {
            const double* lower = icf + c * packed + d;
            for (int i = 0; i < d; i++) centred[i] = x[p * d + i] - means[c * d + i];
            for (int i = 0; i < d; i++) product[i] = diagonal[c * d + i] * centred[i];
            for (int j = 0; j < d; j++) {
                for (int i = j + 1; i < d; i++) product[i] += lower[i - j - 1] * centred[j];
                lower += d - j - 1;
            }
            double square = 0;
            for (int i = 0; i < d; i++) square += product[i] * product[i];
            terms[c] = alphas[c] + log_det[c] - 0.5 * square;
        }
        fit += log_sum_exp(terms.data(), k);
    }
    const double pi = 3.14159265358979323846, freedom = d + m + 1;
    double log_gamma = 0.25 * d * (d - 1) * std::log(pi);
    for (int i = 0; i < d; i++) log_gamma += std::lgamma(0.5 * (freedom - i));
    const double constant = freedom * d * (std::log(gamma) - 0.5 * std::log(2.0)) - log_gamma;
    const double prior = 0.5 * gamma * gamma * squares - m * all - k * constant;
    return fit - n * log_sum_exp(alphas, k) - 0.5 * n * d * std::log(2 * pi) + prior;
}
